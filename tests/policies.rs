//! Every case of `policies/cases/` against the policy it names, and that nothing is left without a case.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use unsplit::format::policy::case::{self, Written};
use unsplit::format::policy::load;
use unsplit::judge::policy::words::Key;
use unsplit::judge::policy::{Policy, decide};
use unsplit::model::verdict::Verdict;

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
}

fn toml_files(folder: &Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "toml"))
        .map(|path| {
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (stem, fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn all_cases() -> Vec<(String, Written)> {
    let mut all = Vec::new();
    for (file, text) in toml_files(&policies().join("cases")) {
        for written in case::load(&text, &file).unwrap_or_else(|errors| panic!("{errors}")) {
            all.push((file.clone(), written));
        }
    }
    all
}

fn policy_of(written: &Written) -> Policy {
    let (name, text) = match (&written.policy, &written.policy_text) {
        (Some(name), None) => {
            (name.clone(), fs::read_to_string(policies().join(format!("{name}.toml"))).unwrap())
        }
        (None, Some(text)) => (written.name.clone(), text.clone()),
        _ => panic!("{}: give either policy or policy-text", written.name),
    };
    load(&text, &name).unwrap_or_else(|errors| panic!("{}: {errors}", written.name))
}

/// What is wrong with a case, if anything.
fn verdict_of(written: &Written) -> Result<(), String> {
    let policy = policy_of(written);
    let settings = policy.settings_for(&written.resource);
    let case = written.case(settings).map_err(|error| error.to_string())?;
    let verdict = decide(settings, &case);
    let expected = written.expect.as_ref().ok_or("no [expect]")?;
    let (word, survivor, auto) = match &verdict {
        Verdict::Agree { .. } => ("agree", None, None),
        Verdict::Heal { survivor, auto, .. } => ("heal", Some(*survivor), Some(*auto)),
        Verdict::Hold { .. } => ("hold", None, None),
        Verdict::Refuse { .. } => ("refuse", None, None),
    };
    let trace: Vec<String> = verdict
        .trace()
        .reasons()
        .iter()
        .map(|reason| format!("{} | {} | {}", reason.rule, reason.evidence, reason.conclusion))
        .collect();
    let told = trace.iter().any(|line| line.contains(&expected.trace));
    if (word, survivor, auto) == (expected.verdict.as_str(), expected.survivor, expected.auto) && told {
        return Ok(());
    }
    Err(format!(
        "got {word}, survivor {survivor:?}, auto {auto:?}; expected {expected:?}\n    {}",
        trace.join("\n    ")
    ))
}

#[test]
fn every_case_gets_its_verdict() {
    let cases = all_cases();
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(file, written)| {
            verdict_of(written).err().map(|why| format!("{file}: {}: {why}", written.name))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn case_names_are_unique_in_their_file() {
    let mut seen = BTreeSet::new();
    for (file, written) in all_cases() {
        assert!(seen.insert((file.clone(), written.name.clone())), "{file}: {} twice", written.name);
    }
}

#[test]
fn every_shipped_policy_loads_says_what_it_is_and_has_cases() {
    let cases = all_cases();
    let shipped = toml_files(&policies());
    assert!(shipped.len() >= 4);
    for (name, text) in shipped {
        let policy = load(&text, &name).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(policy.description().is_some(), "{name} has no description");
        let own = cases.iter().filter(|(_, written)| written.policy.as_ref() == Some(&name)).count();
        assert!(own > 0, "{name} has no cases");
    }
}

#[test]
fn every_value_of_every_key_has_a_case() {
    let texts: Vec<String> = all_cases().into_iter().filter_map(|(_, written)| written.policy_text).collect();
    let given = |line: &str| texts.iter().any(|text| text.lines().any(|own| own.trim() == line));
    let mut missing = Vec::new();
    for key in Key::ALL {
        for value in key.values().iter().filter(|value| key.takes(value)) {
            let (key, text) = (key.word(), format!("{} = \"{value}\"", key.word()));
            if !given(&text) && !given(&format!("{key} = {value}")) {
                missing.push(text);
            }
        }
    }
    assert!(missing.is_empty(), "no case gives: {missing:?}");
}

#[test]
fn drbd_defaults_are_the_defaults() {
    let text = fs::read_to_string(policies().join("drbd-defaults.toml")).unwrap();
    let policy = load(&text, "drbd-defaults.toml").unwrap();
    let anything = "r0".to_owned().try_into().unwrap();
    assert_eq!(policy.settings_for(&anything), Policy::drbd_defaults().settings_for(&anything));
    // It is also the list of keys.
    for key in Key::ALL {
        assert!(text.lines().any(|line| line.starts_with(&format!("{} = ", key.word()))), "{}", key.word());
    }
}
