//! The command line's contract: every command's help, errors, JSON, and the documents made from its definitions.
//! Whatever clap's tree holds is tested; nothing is listed by hand.
//!
//! `UNSPLIT_UPDATE=1 cargo test --test cli` writes tests/snapshots/help and docs/cli-reference.md anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[path = "../scene/mod.rs"]
mod scene;

mod contract;
mod documents;
mod json;
mod older;
mod other_names;
mod screens;

use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Whether texts under test are to be written rather than compared.
fn updating() -> bool {
    std::env::var_os("UNSPLIT_UPDATE").is_some_and(|value| value == "1")
}

/// Compares a file with what it should hold, or writes it.
#[track_caller]
fn holds(path: &std::path::Path, text: &str) {
    if updating() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        return;
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == text,
        "{} is out of date. Read the difference, then: UNSPLIT_UPDATE=1 cargo test --test cli\n--- is\n{found}\n--- should be\n{text}",
        path.display()
    );
}
