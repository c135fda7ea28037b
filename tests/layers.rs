//! The house's rule: a room uses the rooms below it and none above, and the pure rooms touch no outside.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// From the top down, as in docs/ARCHITECTURE.md.
const ROOMS: [&str; 11] =
    ["cli", "api", "resolver", "edge", "engine", "digest", "ports", "proof", "format", "judge", "model"];

/// Names of the outside that `model`, `judge`, `format` and `proof` must not mention.
const OUTSIDE: [&str; 9] = [
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::time",
    "std::env",
    "tracing",
    "rayon",
    "tokio",
];

fn rust_files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            out.push(path);
        }
    }
}

fn files_of(room: &str) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room), &mut files);
    files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            // Tests inside a file may use what they like.
            let code = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            (path, code)
        })
        .collect()
}

#[test]
fn arrows_point_down_only() {
    let mut wrong = Vec::new();
    for (level, room) in ROOMS.iter().enumerate() {
        for (path, code) in files_of(room) {
            for above in &ROOMS[..level] {
                if code.contains(&format!("crate::{above}::")) || code.contains(&format!("crate::{above};")) {
                    wrong.push(format!("{} uses crate::{above}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "rooms used from below:\n{}", wrong.join("\n"));
}

#[test]
fn every_room_is_listed() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in fs::read_dir(src).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() && name != "bin" {
            assert!(ROOMS.contains(&name.as_str()), "src/{name} is not a room of the house");
        }
    }
}

#[test]
fn pure_rooms_name_nothing_outside() {
    let mut wrong = Vec::new();
    for room in ["model", "judge", "format", "proof"] {
        for (path, code) in files_of(room) {
            for word in OUTSIDE {
                if code.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(word)) {
                    wrong.push(format!("{} names {word}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "the pure rooms reach outside:\n{}", wrong.join("\n"));
}

/// A daemon drives the same use cases: they know no command line, no screen and no exit code.
#[test]
fn use_cases_need_no_terminal() {
    for (path, code) in files_of("resolver") {
        for word in ["clap", "edge::terminal", "exit_code", "println!", "stdin", "stdout"] {
            let names_it = |line: &str| !line.trim_start().starts_with("//") && line.contains(word);
            assert!(!code.lines().any(names_it), "{} names {word}", path.display());
        }
    }
}

/// The auditors must not share code with the planners: they may know the model only, and each other.
#[test]
fn the_auditors_stand_alone() {
    let audits: Vec<_> = files_of("judge")
        .into_iter()
        .filter(|(path, _)| path.parent().is_some_and(|folder| folder.ends_with("audit")))
        .collect();
    assert!(audits.len() >= 3, "{audits:?}");
    for (path, code) in audits {
        let ours = |line: &str| !line.contains("super::super") && !line.contains("crate::judge::");
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let below = !line.contains("crate::") || line.contains("crate::model::");
            assert!(below && ours(line), "{} uses more than the model: {line}", path.display());
        }
    }
}

/// Every act asks for a permit, so whoever could make one could act without a journal.
#[test]
fn only_the_journals_cursor_permits() {
    let mut makers = Vec::new();
    for room in ROOMS {
        for (path, code) in files_of(room) {
            if code.contains("Permit::of_declared(") {
                makers.push(path);
            }
        }
    }
    let made_in = |file: &str| makers.iter().filter(|path| path.ends_with(file)).count();
    assert_eq!(made_in("engine/journal/cursor.rs"), 1);
    // The other is the proof's own page, which shows that it does not compile elsewhere.
    assert_eq!((made_in("proof/permit.rs"), makers.len()), (1, 2), "{makers:?}");
}
