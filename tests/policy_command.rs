//! `unsplit policy check` and `unsplit policy explain`, without the process around them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use clap::Parser;
use std::path::Path;
use unsplit::cli::policy::{PolicyArgs, run};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    policy: PolicyArgs,
}

/// Exit code and output of a command line, split at spaces.
fn policy(line: &str, json: bool) -> (u8, String) {
    let args = Line::try_parse_from(std::iter::once("policy").chain(line.split(' '))).unwrap();
    let mut out = Vec::new();
    let code = run(&args.policy, &mut out, json).unwrap();
    (code, String::from_utf8(out).unwrap())
}

fn shipped(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(name).to_str().unwrap().to_owned()
}

#[test]
fn check_tells_fine_from_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.toml");
    std::fs::write(&bad, "auto = true\nsalvge = \"off\"\n").unwrap();
    let (good, bad) = (shipped("unattended.toml"), bad.to_str().unwrap().to_owned());
    assert_eq!(
        policy(&format!("check {good}"), false),
        (0, format!("{good}: fine (Heals by itself within safe limits)\n"))
    );
    let (code, text) = policy(&format!("check {good} {bad}"), false);
    assert_eq!(code, 2);
    assert!(text.ends_with(&format!(
        "{bad}:2:1: unknown key `salvge`, did you mean `salvage`?\n    salvge = \"off\"\n"
    )));
    let (code, text) = policy(&format!("check {good} {bad}"), true);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (code, &json["files"][0]["fine"], &json["files"][1]["errors"][0]["line"]),
        (2, &true.into(), &2.into())
    );
}

#[test]
fn explain_shows_settings_reasons_and_verdict() {
    let file = shipped("unattended.toml");
    let line = format!(
        "explain {file} --resource db-1 --primaries 1 --bits-a 900 --bits-b 12 --name-a node1 --name-b node2 --drbd 8"
    );
    let (code, text) = policy(&line, false);
    assert_eq!(code, 0);
    insta::assert_snapshot!(text.replace(&file, "unattended.toml"), @r#"
    case: a split brain as the options describe it
    policy: unattended.toml, for db-1 by `match = "db-*"`
      after-sb-0pri  discard-zero-changes
      after-sb-1pri  discard-secondary
      after-sb-2pri  disconnect
      always-asbp    no
      rr-conflict    disconnect
      keep           quorate
      salvage        required
      fence          required
      auto           false
      max-discard    64 MiB
    relation: split brain
    DRBD itself would: resync the marked blocks from node1 (after-sb-1pri = discard-secondary: node2 is Secondary: discard it)
    because:
      1. lineage: v08 rule 90, bitmap-both
         result 100
         -> split brain: both went on from a common ancestor
      2. after-sb-1pri = discard-secondary
         Primary: node1
         -> node2 is Secondary: discard it
      3. max-discard = 64 MiB
         48 KiB would be discarded on node2
         -> within the limit
      4. salvage = required
         -> what node2 loses is copied and read back first
      5. fence = required
         -> before node1 may be primary alone: a fence agent's or Pacemaker's word
      6. auto = false
         -> asks for consent
    verdict: heal: keep node1, discard what only node2 has; asks first
    "#);
    let (code, text) = policy(&line, true);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 0);
    let case = &json["cases"][0];
    assert_eq!((&case["verdict"]["verdict"], &case["verdict"]["survivor"]), (&"heal".into(), &"a".into()));
    assert_eq!((&case["override"], &case["settings"]["max-discard"]), (&"db-*".into(), &67_108_864.into()));
}

#[test]
fn explain_ends_with_3_when_a_person_is_needed() {
    let defaults = shipped("drbd-defaults.toml");
    let (code, text) = policy(&format!("explain {defaults}"), false);
    assert_eq!(code, 3);
    assert!(text.ends_with("verdict: hold: a person must choose, with --keep\n"), "{text}");
    assert_eq!(policy(&format!("explain {defaults} --keep b"), false).0, 0);
    let (code, text) = policy(&format!("explain {defaults} --keep b --inconsistent b"), false);
    assert_eq!(code, 3);
    assert!(text.contains("verdict: refuse"), "{text}");
}

#[test]
fn options_reach_the_decision() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.toml");
    let verdict = |rule: &str, options: &str| {
        std::fs::write(&file, rule).unwrap();
        let (_, text) = policy(&format!("explain {}{options}", file.display()), false);
        text.lines().last().unwrap().to_owned()
    };
    assert!(verdict("keep = \"quorate\"", " --quorate b").contains("keep b"));
    assert!(verdict("keep = \"newest\"", " --newest a").contains("keep a"));
    assert!(verdict("keep = \"running-guest\"", " --running-guest b").contains("keep b"));
    assert!(verdict("keep = \"running-guest\"", "").contains("hold"));
    assert!(
        verdict("after-sb-1pri = \"discard-secondary\"", " --primaries 1 --primary-is b").contains("keep b")
    );
    let full = "after-sb-0pri = \"discard-local\"";
    assert!(verdict(full, "").contains("keep b"));
    assert!(verdict(full, " --no-common-base").contains("hold"));
    assert!(
        verdict(
            "after-sb-2pri = \"call-pri-lost-after-sb\"\nafter-sb-0pri = \"discard-local\"",
            " --primaries 2"
        )
        .contains("keep b")
    );
}

#[test]
fn explain_reads_case_files() {
    let (policy_file, cases) = (shipped("conservative.toml"), shipped("cases/conservative.toml"));
    let (code, text) = policy(&format!("explain {policy_file} --case {cases}"), false);
    assert_eq!(code, 3);
    assert_eq!(text.matches("\nverdict: ").count(), 6);
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.toml");
    std::fs::write(&bad, "[[case]]\nname = \"x\"\na = { uuids = \"1\" }\n").unwrap();
    let (code, text) = policy(&format!("explain {policy_file} --case {}", bad.display()), false);
    assert_eq!(code, 2);
    assert!(text.contains("bad.toml:1:1: missing field `b`"), "{text}");
}

#[test]
fn files_that_cannot_be_read_are_errors() {
    let args = Line::try_parse_from(["policy", "check", "/nonexistent/policy.toml"]).unwrap();
    let error = run(&args.policy, &mut Vec::new(), false).unwrap_err();
    assert!(error.to_string().contains("cannot read /nonexistent/policy.toml"), "{error}");
}
