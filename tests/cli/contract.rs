//! What holds for every command.

use super::scene::{Ran, Scene, ran};
use super::{holds, root, updating};
use clap::{Command as Definition, CommandFactory};
use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use unsplit::cli::Cli;
use unsplit::cli::reference::commands;

fn unsplit(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unsplit"));
    command.args(words).env("COLUMNS", "100").env_remove("LINES").stdin(Stdio::null());
    command
}

fn run(words: &[&str]) -> Ran {
    ran(unsplit(words))
}

/// Every command as the words after `unsplit`, with its definition.
fn all() -> Vec<(Vec<String>, Definition)> {
    fn walk(words: &[String], command: &Definition, all: &mut Vec<(Vec<String>, Definition)>) {
        all.push((words.to_vec(), command.clone()));
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let mut words = words.to_vec();
            words.push(sub.get_name().to_owned());
            walk(&words, sub, all);
        }
    }
    let mut root = Cli::command();
    root.build();
    let mut found = Vec::new();
    walk(&[], &root, &mut found);
    assert!(found.len() > 10);
    found
}

fn with<'w>(words: &'w [String], more: &[&'w str]) -> Vec<&'w str> {
    words.iter().map(String::as_str).chain(more.iter().copied()).collect()
}

fn error_document(ran: &Ran) -> serde_json::Value {
    let document: serde_json::Value =
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error} in `{}`", ran.out));
    assert_eq!(document["schema"], "unsplit.error");
    assert_eq!(document["version"], 1);
    assert_eq!(document["exit_code"], ran.code);
    assert!(document["causes"].as_array().is_some_and(|causes| !causes.is_empty()));
    document
}

#[test]
fn help_is_under_test() {
    let folder = root().join("tests/snapshots/help");
    let mut expected = BTreeSet::new();
    let mut without_example = Vec::new();
    for entry in commands() {
        let words: Vec<String> = entry.words.split(' ').skip(1).map(ToOwned::to_owned).collect();
        let ran = run(&with(&words, &["--help"]));
        ran.says(0, &["Usage: unsplit", "--json", "--state-dir"]);
        assert!(ran.err.is_empty(), "{}", ran.err);
        if !ran.out.contains("Example") || !ran.out.contains("  unsplit ") {
            without_example.push(entry.words.clone());
        }
        let name = format!("{}.txt", entry.words.replace(' ', "-"));
        let shown: Vec<&str> = ran.out.trim_end().lines().map(str::trim_end).collect();
        assert_eq!(
            shown.join("\n") + "\n",
            entry.help,
            "the reference is what `{} --help` prints",
            entry.words
        );
        holds(&folder.join(&name), &entry.help);
        expected.insert(name);
    }
    assert!(without_example.is_empty(), "without an example: {without_example:?}");
    let there: BTreeSet<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let stale: Vec<&String> = there.difference(&expected).collect();
    if updating() {
        stale.iter().for_each(|name| fs::remove_file(folder.join(name)).unwrap());
    } else {
        assert!(stale.is_empty(), "of commands that are no more: {stale:?}");
    }
}

#[test]
fn versions() {
    for (words, _) in all() {
        let ran = run(&with(&words, &["--version"]));
        ran.says(0, &["unsplit", env!("CARGO_PKG_VERSION")]);
    }
}

#[test]
fn unknown_options() {
    for (words, _) in all() {
        let ran = run(&with(&words, &["--no-such-option"]));
        ran.says(2, &["error: ", "--no-such-option", "--help"]);
        assert!(ran.out.is_empty(), "errors go to standard error: {}", ran.out);
        let ran = run(&with(&words, &["--json", "--no-such-option"]));
        assert_eq!(ran.code, 2);
        let cause = error_document(&ran)["causes"][0].as_str().unwrap().to_owned();
        assert!(cause.contains("--no-such-option") && !cause.starts_with("error:"), "{cause}");
        assert!(ran.err.contains("--no-such-option"));
    }
}

#[test]
fn missing_arguments() {
    let mut asked = 0;
    for (words, definition) in all() {
        let needed = definition.get_arguments().any(clap::Arg::is_required_set)
            || definition.is_subcommand_required_set();
        if needed {
            asked += 1;
            let ran = run(&with(&words, &[]));
            assert_eq!(ran.code, 2, "{words:?}: {}", ran.all());
            assert!(ran.out.is_empty() && ran.err.contains("Usage: unsplit"), "{words:?}: {}", ran.all());
        }
    }
    assert!(asked > 4);
}

/// Definitions that contradict themselves are found by clap, in debug builds.
#[test]
fn definitions_are_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_option_is_explained() {
    for (words, definition) in all() {
        assert!(definition.get_about().is_some(), "{words:?}");
        for argument in definition.get_arguments() {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.is_empty(), "{words:?}: {} has no help", argument.get_id());
            assert!(
                !help.ends_with('.') || help.ends_with("..."),
                "{words:?}: {}: no full stop",
                argument.get_id()
            );
        }
    }
}

#[test]
fn colour_only_when_asked_for() {
    let scene = Scene::split();
    let words = ["status", "a.img", "b.img"];
    assert!(!scene.run(&words).all().contains('\u{1b}'));
    let always = ["--color", "always", "status", "a.img", "b.img"];
    assert!(scene.run(&always).out.contains("\u{1b}[1;31mSPLIT BRAIN"));
    for (words, variable) in
        [(&words[..], "NO_COLOR"), (&["--color", "never", "status", "a.img", "b.img"], "X")]
    {
        let mut command = scene.command(words);
        command.env(variable, "1").env("CLICOLOR_FORCE", "1").env("TERM", "xterm-256color");
        assert!(!ran(command).all().contains('\u{1b}'));
    }
    // Errors and help, too.
    for words in [&["--no-such-option"][..], &["--help"], &["undo"], &["status", "gone", "gone"]] {
        assert!(!scene.run(words).all().contains('\u{1b}'));
    }
}

/// A pipe whose reader is gone.
fn nobody() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn a_closed_output_changes_nothing() {
    let scene = Scene::split();
    for (words, code) in [
        (&["--help"][..], 0),
        (&["status", "a.img", "b.img"], 1),
        (&["--json", "diff", "a.img", "b.img"], 1),
        (&["--json", "undo"], 2),
        (&["completions", "bash"], 0),
        (&["history"], 0),
        (&["plan", "a.img", "b.img"], 3),
        (&["resolve", "a.img", "b.img", "--keep", "a", "--yes"], 0),
        (&["status", "a.img", "b.img"], 0),
        (&["undo"], 0),
        (&["status", "a.img", "b.img"], 1),
    ] {
        let mut command = scene.command(words);
        let output = command.stdout(nobody()).stderr(Stdio::piped()).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {text}");
        assert!(!text.contains("panicked"), "{words:?}: {text}");
    }
    for words in [&["--help"][..], &["undo"], &["--no-such-option"]] {
        let mut command = scene.command(words);
        let status = command.stdout(nobody()).stderr(nobody()).status().unwrap();
        assert!([0, 2].contains(&status.code().unwrap()), "{words:?}: {status}");
    }
}

fn onto_a_full_disk(scene: &Scene, words: &[&str]) -> (i32, String) {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = scene.command(words).stdout(full).stderr(Stdio::piped()).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// What could not be said was not said; it is said elsewhere, and who asked for nothing else is told that it failed.
#[test]
fn a_full_output_is_an_error() {
    let scene = Scene::split();
    for words in [&["status", "a.img", "b.img"][..], &["--json", "status", "a.img", "b.img"], &["--help"]] {
        let (code, text) = onto_a_full_disk(&scene, words);
        assert_eq!(code, 70, "{text}");
        assert!(text.contains("the output could not be written") && text.contains("No space left"), "{text}");
    }
    let (_, text) = onto_a_full_disk(&scene, &["status", "a.img", "b.img"]);
    assert!(text.contains("SPLIT BRAIN"), "{text}");
}

/// Healed is healed, wherever the words go.
#[test]
fn work_that_was_done_is_told_though_the_output_is_lost() {
    let heal = ["resolve", "a.img", "b.img", "--keep", "a", "--yes"];
    for json in [false, true] {
        let scene = Scene::split();
        let words: Vec<&str> = json.then_some("--json").into_iter().chain(heal).collect();
        let (code, text) = onto_a_full_disk(&scene, &words);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("the output could not be written") && text.contains("ealed"), "{text}");
        let (code, text) = onto_a_full_disk(&scene, &["undo"]);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("it goes on here"), "{text}");
    }
    // Nobody reads any more.
    let scene = Scene::split();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = scene.command(&heal).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("Healed"), "{text}");
}

/// A peer that does not answer is no peer without resources.
#[test]
fn silence_of_a_peer_is_no_empty_list() {
    let agent = env!("CARGO_BIN_EXE_unsplit");
    let confined = format!("exec:{agent} agent --stdio --allow /dev/null");
    for peer in ["exec:false", &confined] {
        let ran = run(&["status", "--all", "--peer", peer]);
        assert_eq!(ran.code, 4, "{}", ran.all());
        assert!(!ran.all().contains("No DRBD resources"), "{}", ran.all());
        let json = run(&["--json", "status", "--all", "--peer", peer]);
        assert_eq!(json.code, 4, "{}", json.all());
    }
}
