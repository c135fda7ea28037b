//! The house's style, as far as a program can read it.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// Longest file. One file holds one idea.
const LONGEST: usize = 800;

/// Words that say "later". Spelled so that this file does not hold them.
const LATER: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("todo", "!"),
    concat!("unimplemented", "!"),
    concat!("dbg", "!"),
];

/// Names that say nothing.
const EMPTY_NAMES: [&str; 3] = ["manager", "helper", "util"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folders: &[&str]) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!files.is_empty());
    files.sort();
    files
}

#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn files_are_short() {
    let long: Vec<String> = rust_files(&["src", "tests", "bench", "crates", "fuzz/fuzz_targets"])
        .into_iter()
        .map(|(name, text)| (name, text.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST)
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    none("split these files", &long);
}

#[test]
fn nothing_is_left_for_later() {
    let mut found = Vec::new();
    for (name, text) in rust_files(&["src", "tests", "bench", "crates", "fuzz/fuzz_targets"]) {
        for (at, line) in text.lines().enumerate() {
            // An example in a comment may leave out what it is not about.
            let comment = line.trim_start().starts_with("//");
            let later = |word: &str| line.contains(word) && !(comment && word.ends_with('!'));
            if LATER.iter().any(|word| later(word)) {
                found.push(format!("{name}:{}: {}", at + 1, line.trim()));
            }
        }
    }
    none("do these now, or say in the open what is missing", &found);
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<String> = rust_files(&["src", "tests", "bench", "crates"])
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(name, _)| name)
        .collect();
    none("these files do not begin with `//! `", &silent);
}

#[test]
fn names_say_something() {
    let mut found = Vec::new();
    for (file, text) in rust_files(&["src", "crates"]) {
        let own = EMPTY_NAMES.iter().any(|word| {
            Path::new(&file)
                .components()
                .any(|part| part.as_os_str().to_string_lossy().to_lowercase().contains(word))
        });
        if own {
            found.push(file.clone());
        }
        for (at, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            let named = words.windows(2).find(|pair| {
                ["struct", "enum", "trait", "mod", "fn", "type"].contains(&pair[0])
                    && EMPTY_NAMES.iter().any(|word| pair[1].to_lowercase().contains(word))
            });
            if named.is_some() && !line.trim_start().starts_with("//") {
                found.push(format!("{file}:{}: {}", at + 1, line.trim()));
            }
        }
    }
    none("names that say nothing", &found);
}

#[test]
fn fuzz_targets_and_their_list_agree() {
    let list = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    let mut listed: Vec<String> = list
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""))
        .map(ToOwned::to_owned)
        .collect();
    let mut there: Vec<String> = rust_files(&["fuzz/fuzz_targets"])
        .into_iter()
        .filter_map(|(name, _)| Some(name.rsplit('/').next()?.strip_suffix(".rs")?.to_owned()))
        .collect();
    listed.sort();
    there.sort();
    assert_eq!(listed, there, "fuzz/Cargo.toml lists the left, fuzz/fuzz_targets holds the right");
    assert!(listed.len() >= 5);
}

/// The crate's `unsafe` stands in few files, each block with its reason. (The lint denies it elsewhere; this keeps the
/// list of exceptions from growing unseen.)
#[test]
fn unsafe_stands_in_few_files_with_reasons() {
    const FILES: [&str; 3] = ["src/edge/guard.rs", "src/edge/guard/tests.rs", "src/edge/kernel.rs"];
    let block = concat!("unsa", "fe {");
    let mut found = Vec::new();
    for (name, text) in rust_files(&["src", "crates"]) {
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.contains(block)) {
            // The reason is the comment right above the statement.
            let above = lines[..at].iter().rev();
            let reasons = above.take_while(|line| line.trim_start().starts_with("//"));
            let reasoned = reasons.into_iter().any(|line| line.contains("SAFETY:"));
            if !FILES.contains(&name.as_str()) || !reasoned {
                found.push(format!("{name}:{}: {}", at + 1, line.trim()));
            }
        }
    }
    none("unsafe in another file, or without a reason", &found);
}

/// No path of the machine that somebody worked on.
#[test]
fn nothing_names_this_machine() {
    let work = concat!("/wo", "rk/");
    let mut found = Vec::new();
    for (name, text) in rust_files(&["src", "tests", "bench", "crates", "fuzz/fuzz_targets"]) {
        if text.contains(work) || text.contains(concat!("/tmp", "/fx")) {
            found.push(name);
        }
    }
    none("paths of one machine", &found);
}
