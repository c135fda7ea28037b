//! Whole screens of plans, verdicts and healings of images, word for word.

use super::scene::{Ran, Scene};
use super::{holds, root};
use std::fs;

/// Without what differs from run to run: the folder, plans' and incidents' names.
fn plain(scene: &Scene, text: &str) -> String {
    let text = text.replace(scene.folder.path().to_str().unwrap(), "DIR");
    let hex = |word: &str| word.len() >= 12 && word.chars().all(|c| c.is_ascii_hexdigit());
    let incident = |word: &str| {
        let parts: Vec<&str> = word.split('-').collect();
        matches!(parts.as_slice(), [day, time, id] if day.len() == 8 && time.len() == 6 && id.len() == 6)
    };
    let mut out = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_alphanumeric() || c == '-' {
            word.push(c);
            continue;
        }
        out.push_str(match word.as_str() {
            plan if hex(plan) => "PLAN",
            name if incident(name) => "INCIDENT",
            other => other,
        });
        word.clear();
        if c != '\0' {
            out.push(c);
        }
    }
    out
}

fn told(scene: &Scene, line: &str, ran: &Ran) -> String {
    format!(
        "$ unsplit {line}\n{}{}[exit code {}]\n\n",
        plain(scene, &ran.out),
        plain(scene, &ran.err),
        ran.code
    )
}

#[test]
fn screens_are_as_they_were() {
    let scene = Scene::split();
    fs::write(scene.path("off.toml"), "salvage = \"off\"\n").unwrap();
    let mut page = String::new();
    for line in [
        "plan a.img b.img",
        "resolve a.img b.img",
        "plan a.img b.img --keep a",
        "plan a.img b.img --keep b --name-a alpha --name-b beta --full",
        "resolve a.img b.img --keep a",
        "plan a.img b.img --keep a --policy off.toml --no-salvage",
        "plan a.img b.img --keep a --no-salvage",
        "resolve a.img b.img --keep a --policy off.toml --no-salvage",
        "resolve a.img b.img --keep a --yes",
        "plan a.img b.img",
        "undo --dry-run",
        "undo",
    ] {
        // Whether a kept comparison is old enough to be used is a matter of the moment.
        let mut words: Vec<&str> = line.split(' ').collect();
        if words[0] != "undo" {
            words.push("--no-cache");
        }
        page.push_str(&told(&scene, line, &scene.run(&words)));
    }

    holds(&root().join("tests/snapshots/screens/images.txt"), &page);
}
