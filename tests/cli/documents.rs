//! Documents made from the definitions: completions, manual pages, the reference.

use super::scene::Scene;
use super::{holds, root};
use clap::CommandFactory;
use std::fs;
use unsplit::cli::Cli;
use unsplit::cli::reference::{commands, markdown};

#[test]
fn the_reference_is_up_to_date() {
    holds(&root().join("docs/cli-reference.md"), &markdown());
}

#[test]
fn completions_know_every_command() {
    let scene = Scene::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = scene.run(&["completions", shell]);
        ran.says(0, &["unsplit"]);
        for command in Cli::command().get_subcommands() {
            assert!(ran.out.contains(command.get_name()), "{shell}: {}", command.get_name());
        }
        assert!(ran.out.contains("state-dir"), "{shell}");
    }
    scene.run(&["completions", "cmd"]).says(2, &["possible values", "bash"]);
    scene.run(&["completions"]).says(2, &["<SHELL>"]);
    // The script is one that the shell takes.
    let bash = scene.run(&["completions", "bash"]);
    fs::write(scene.path("unsplit.bash"), bash.out).unwrap();
    if let Ok(output) = std::process::Command::new("bash").arg("-n").arg(scene.path("unsplit.bash")).output()
    {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_command_has_a_page() {
    let scene = Scene::empty();
    scene.run(&["man", "share/man1"]).says(0, &["pages written to share/man1"]);
    let mut expected: Vec<String> =
        commands().iter().map(|entry| format!("{}.1", entry.words.replace(' ', "-"))).collect();
    let mut there: Vec<String> = fs::read_dir(scene.path("share/man1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    expected.sort();
    there.sort();
    assert_eq!(there, expected);
    for entry in commands() {
        let name = entry.words.replace(' ', "-");
        let page = fs::read_to_string(scene.path(format!("share/man1/{name}.1"))).unwrap();
        let roff = |text: &str| text.replace('-', r"\-");
        for part in [
            ".TH ".to_owned(),
            ".SH NAME".to_owned(),
            format!("{} \\- ", roff(&name)),
            ".SH SYNOPSIS".to_owned(),
        ] {
            assert!(page.contains(&part), "{name}: no `{part}`");
        }
        assert!(
            page.contains(&format!("\\fB{}\\fR", roff(&entry.words))),
            "{name}: the synopsis has the whole command"
        );
    }
    fs::write(scene.path("file"), "").unwrap();
    scene.run(&["man", "file"]).says(70, &["cannot create the folder file"]);
}
