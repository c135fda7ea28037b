//! A healing that keeps nothing is killed in the middle, and somebody else writes to the victim: going on parks, and leaves what
//! was written. Once that is put back the healing ends.

use crate::cut::strace;
use crate::scene::{BIN, Scene, text};
use crate::world::pair::Spec;
use std::fs;
use std::os::unix::fs::FileExt;
use unsplit::model::drbd::MetadataFormat;

const RESUME: [&str; 3] = ["resolve", "--resume", "--no-salvage"];

fn scene(format: MetadataFormat) -> Scene {
    let scene = Scene::made(&Spec {
        slots: if format == MetadataFormat::V09 { 2 } else { 1 },
        ..Spec::plain(format, 3)
    });
    fs::write(scene.path("off.toml"), "salvage = \"off\"\n").unwrap();
    scene
}

/// What runs when it is to be killed at its `at`th write to the victim; without `at` it lives. Counted in each thread.
fn traced(scene: &Scene, at: Option<usize>) -> String {
    at.map_or_else(String::new, |at| {
        let [trace, victim] = ["trace", "b.img"].map(|name| scene.path(name).display().to_string());
        let inject = format!("-e trace=pwrite64 -e inject=pwrite64:signal=KILL:when={at}");
        format!("strace -f -qq -e signal=none -o {trace} -P {victim} {inject} ")
    })
}

/// The plan's id, and where it overwrites.
fn plan(scene: &Scene, peer: Option<&str>) -> (String, Vec<(u64, u64)>) {
    let policy = scene.path("off.toml").display().to_string();
    let (code, plan) = scene.json("plan", peer, &["--keep", "a", "--policy", &policy, "--no-salvage"]);
    assert_eq!(code, 1, "{plan}");
    let overwrite = serde_json::from_value(plan["plan"]["volumes"][0]["overwrite"].clone()).unwrap();
    (plan["id"].as_str().unwrap().to_owned(), overwrite)
}

/// Whether it was killed in the middle of overwriting, and what the rest then came to.
fn killed_at(format: MetadataFormat, remote: bool, at: usize) -> Option<bool> {
    let scene = scene(format);
    let script = scene.path("peer.sh");
    let agent = |at| fs::write(&script, format!("exec {}{BIN} agent --stdio", traced(&scene, at))).unwrap();
    let peer = format!("exec:sh {}", script.display());
    agent(None);
    let (id, overwrite) = plan(&scene, remote.then_some(&peer));
    let words = ["resolve", "--threads", "1", "--plan", &id, "--no-salvage"];
    let killed = if remote {
        agent(Some(at));
        let killed = scene.run(&words);
        agent(None);
        killed
    } else {
        let command = scene.command(&words);
        let mut shell = std::process::Command::new("sh");
        let all = std::iter::once(command.get_program()).chain(command.get_args());
        let all: Vec<String> = all.map(|word| word.to_str().unwrap().to_owned()).collect();
        shell.arg("-c").arg(format!("exec {}{}", traced(&scene, Some(at)), all.join(" ")));
        crate::scene::in_time(shell)
    };
    if killed.status.code() == Some(0) {
        return None;
    }
    let (a, was, now) = (scene.read("a.img"), &scene.before[1].1, scene.read("b.img"));
    let sectors = overwrite.iter().flat_map(|(start, len)| (*start..start + len).step_by(512));
    let sectors: Vec<usize> = sectors.map(|at| usize::try_from(at).unwrap()).collect();
    let is = |side: &[u8], at: usize| now[at..at + 512] == side[at..at + 512];
    let done = sectors.iter().filter(|at| is(&a, **at) && !is(was, **at)).count();
    let old = sectors.iter().filter(|at| is(was, **at) && !is(&a, **at)).count();
    if done == 0 || old == 0 {
        return Some(false);
    }
    // Where it is new already, and where it is old still.
    let of = |side: &[u8]| {
        *sectors.iter().find(|at| is(side, **at) && a[**at] != was[**at]).unwrap_or(&sectors[0])
    };
    for at in [of(&a), of(was)] {
        // Not left open: that would be somebody who uses it.
        let put = |byte| {
            let file = fs::File::options().write(true).open(scene.path("b.img")).unwrap();
            file.write_all_at(&[byte], at as u64).unwrap();
        };
        let known = [a[at], was[at], now[at]];
        let foreign = (0..=u8::MAX).find(|byte| !known.contains(byte)).unwrap();
        put(foreign);
        let parked = scene.run(&RESUME);
        let says = text(&parked);
        assert_eq!(parked.status.code(), Some(6), "{says}");
        assert!(says.contains("is neither the survivor's nor what stood there before"), "{says}");
        assert!(says.contains("--give-up") && says.contains("No copy was kept"), "{says}");
        assert_eq!(scene.read("b.img")[at], foreign, "{says}");
        put(now[at]);
    }
    let healed = scene.run(&RESUME);
    assert_eq!(healed.status.code(), Some(0), "{}", text(&healed));
    let (now, a) = (scene.read("b.img"), scene.read("a.img"));
    assert!(
        sectors.iter().all(|at| now[*at..at + 512] == a[*at..at + 512]),
        "the victim equals the survivor"
    );
    Some(true)
}

fn killed_everywhere(remote: bool) {
    if strace().is_none() {
        return;
    }
    for format in [MetadataFormat::V08, MetadataFormat::V09] {
        let runs = (1..).map_while(|at| killed_at(format, remote, at));
        let middle = runs.filter(|middle| *middle).count();
        assert!(middle > 0, "{format}: never killed in the middle");
    }
}

#[test]
fn killed_here() {
    killed_everywhere(false);
}

#[test]
fn an_agent_that_is_killed() {
    killed_everywhere(true);
}
