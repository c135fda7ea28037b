//! `unsplit status` of running resources where none runs.

use super::scene::Scene;

#[test]
fn a_resource_that_is_not_known_says_what_is() {
    let scene = Scene::split();
    scene.run(&["status", "no-such-resource"]).says(4, &["no resource `no-such-resource` is known", "next:"]);
    // A file of that name was meant as one side of two.
    scene.run(&["status", "a.img"]).says(2, &["one side alone says nothing"]);
    scene.run(&["status", "./a.img"]).says(2, &["one side alone says nothing"]);
    scene.run(&["status", "r0", "--all"]).says(2, &["--all"]);
}

#[test]
fn a_peer_that_is_this_machine_is_refused() {
    let scene = Scene::empty();
    let peer = format!("exec:{} agent --stdio", env!("CARGO_BIN_EXE_unsplit"));
    scene.run(&["status", "--all", "--peer", &peer]).says(2, &["is this very machine"]);
}

#[test]
fn a_peer_that_does_not_answer_leaves_this_nodes_view() {
    let scene = Scene::empty();
    let ran = scene.run(&["status", "--all", "--peer", "exec:false"]);
    assert!([0, 4].contains(&ran.code), "{}", ran.all());
    assert!(ran.all().contains("the agent ended"), "{}", ran.all());
}
