//! docs/json.md against the documents that are really printed, and against the names in the code.

use super::root;
use super::scene::{Ran, Scene};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// A section of docs/json.md.
struct Section {
    fields: Vec<String>,
    example: Value,
}

/// The sections that describe a document, by schema.
fn documented() -> BTreeMap<String, Section> {
    let text = fs::read_to_string(root().join("docs/json.md")).unwrap();
    let mut sections = BTreeMap::new();
    for part in text.split("\n## ").skip(1) {
        let name = part.lines().next().unwrap().trim();
        if !name.starts_with("unsplit.") {
            continue;
        }
        let fields = part
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
            .map(|(field, _)| field.to_owned())
            .collect();
        let example = part.split("```json\n").nth(1).and_then(|rest| rest.split("```").next());
        let example = example.unwrap_or_else(|| panic!("{name} has no example"));
        let example = serde_json::from_str(example).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(sections.insert(name.to_owned(), Section { fields, example }).is_none(), "{name} twice");
    }
    sections
}

fn top_level(fields: &[String]) -> BTreeSet<String> {
    fields.iter().filter(|field| !field.contains('.')).cloned().collect()
}

fn keys(document: &Value) -> BTreeSet<String> {
    document.as_object().unwrap().keys().cloned().collect()
}

/// Whether a documented path leads somewhere; lists are entered through any of their entries.
fn exists(document: &Value, path: &[&str]) -> bool {
    match (document, path) {
        (_, []) => true,
        (Value::Array(entries), _) => entries.is_empty() || entries.iter().any(|entry| exists(entry, path)),
        (Value::Object(fields), [first, rest @ ..]) => {
            fields.get(*first).is_some_and(|field| exists(field, rest))
        }
        // Null, where the table says that it may be.
        (Value::Null, _) => true,
        _ => false,
    }
}

#[track_caller]
fn fits(sections: &BTreeMap<String, Section>, ran: &Ran, schema: &str) -> Value {
    let document: Value =
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.all()));
    assert_eq!(document["schema"], schema, "{document}");
    let section = &sections[schema];
    assert_eq!(document["version"], section.example["version"]);
    assert_eq!(keys(&document), top_level(&section.fields), "{schema}: left is printed, right is documented");
    for field in &section.fields {
        let path: Vec<&str> = field.split('.').collect();
        assert!(
            exists(&document, &path),
            "{schema}: `{field}` is documented, and not printed:\n{document:#}"
        );
    }
    document
}

#[test]
fn real_documents_are_as_documented() {
    let sections = documented();
    let scene = Scene::split();
    let mut seen = BTreeSet::new();
    let mut check = |words: &[&str], code: i32, schema: &str| {
        let mut all = vec!["--json"];
        all.extend(words);
        let ran = scene.run(&all);
        assert_eq!(ran.code, code, "{words:?}: {}", ran.all());
        seen.insert(schema.to_owned());
        fits(&sections, &ran, schema)
    };
    check(&["status"], 0, "unsplit.incidents");
    // No DRBD runs where tests do; the document is the same.
    check(&["status", "--all"], 0, "unsplit.live-status");
    check(&["history"], 0, "unsplit.history");
    check(&["events"], 0, "unsplit.events");
    check(&["salvage", "list"], 0, "unsplit.salvages");
    check(&["status", "a.img", "b.img"], 1, "unsplit.status");
    check(&["diff", "a.img", "b.img"], 1, "unsplit.diff");
    check(&["diff", "a.img", "b.img", "--full", "--extents"], 1, "unsplit.diff");
    check(&["compare", "a.img", "b.img"], 1, "unsplit.compare");
    check(&["report", "a.img", "b.img"], 1, "unsplit.report");
    assert_eq!(check(&["plan", "a.img", "b.img"], 3, "unsplit.plan")["verdict"], "hold");
    assert_eq!(check(&["resolve", "a.img", "b.img"], 3, "unsplit.plan")["verdict"], "hold");
    let plan = check(&["plan", "a.img", "b.img", "--keep", "a"], 1, "unsplit.plan");
    assert_eq!(plan["verdict"], "heal");
    let id = plan["id"].as_str().unwrap();
    assert_eq!(check(&["resolve", "--resume"], 0, "unsplit.resolve")["outcome"], "nothing-open");
    let error = check(&["resolve", "a.img", "b.img", "--keep", "a"], 3, "unsplit.error");
    assert!(error["next"].as_str().unwrap().starts_with("unsplit resolve --plan"));
    let done = check(&["resolve", "--plan", id], 0, "unsplit.resolve");
    assert_eq!(done["outcome"], "healed");
    let incident = done["incident"].as_str().unwrap();
    assert_eq!(check(&["resolve", "--plan", id], 0, "unsplit.resolve")["outcome"], "already-healed");
    assert_eq!(check(&["plan", "a.img", "b.img", "--keep", "a"], 0, "unsplit.plan")["verdict"], "agree");
    check(&["history"], 0, "unsplit.history");
    check(&["history", incident], 0, "unsplit.history");
    check(&["salvage", "list"], 0, "unsplit.salvages");
    check(&["salvage", "show", incident], 0, "unsplit.salvage");
    check(&["salvage", "verify"], 0, "unsplit.salvage-verify");
    assert_eq!(check(&["undo", "--dry-run"], 1, "unsplit.plan")["verdict"], "undo");
    // An incident that was cut off.
    let journal = fs::read(scene.path("state/journal")).unwrap();
    fs::write(scene.path("state/journal"), &journal[..journal.len() - 7]).unwrap();
    check(&["status"], 6, "unsplit.incidents");
    let open = &check(&["status", "a.img", "b.img"], 6, "unsplit.status")["incidents"]["open"];
    assert_eq!(open[0]["id"], *incident);
    fs::write(scene.path("state/journal"), &journal).unwrap();
    assert_eq!(check(&["undo"], 0, "unsplit.resolve")["outcome"], "undone");
    check(&["undo"], 2, "unsplit.error");
    check(&["status", "a.img", "gone.img"], 4, "unsplit.error");
    check(&["status", "--no-such-option"], 2, "unsplit.error");
    check(&["man", "pages"], 0, "unsplit.man");
    let policy = root().join("policies/conservative.toml");
    let policy = policy.to_str().unwrap();
    check(&["policy", "check", policy], 0, "unsplit.policy-check");
    check(&["policy", "explain", policy], 3, "unsplit.policy-explain");
    check(&["policy", "check", "gone.toml"], 2, "unsplit.error");
    // These are printed only where DRBD runs: the lab's scenarios read them, and tests/live over fake nodes.
    seen.extend(["unsplit.live-list".to_owned()]);
    let all: BTreeSet<String> = sections.keys().cloned().collect();
    assert_eq!(seen, all, "left was run here, right is documented");
}

#[test]
fn examples_have_the_documented_fields() {
    for (name, section) in documented() {
        assert_eq!(section.example["schema"], *name);
        assert_eq!(
            keys(&section.example),
            top_level(&section.fields),
            "{name}: left is the example, right the table"
        );
    }
}

/// Every schema that the code names is documented, and no other.
#[test]
fn every_schema_is_documented() {
    let mut named = BTreeSet::new();
    let mut open = vec![root().join("src")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            for (at, _) in text.match_indices("\"unsplit.") {
                let name: String = text[at + 1..]
                    .chars()
                    .take_while(|c| c.is_ascii_lowercase() || "-.".contains(*c))
                    .collect();
                // A schema, and not a file's name.
                if text[at + 1 + name.len()..].starts_with('"')
                    && !name.ends_with(".log")
                    && !name.ends_with(".html")
                {
                    named.insert(name);
                }
            }
        }
    }
    let documented: BTreeSet<String> = documented().into_keys().collect();
    assert_eq!(named, documented, "left is in the code, right in docs/json.md");
}
