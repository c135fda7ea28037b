//! What is said of a wrong policy, word for word.

use super::{MAX_BYTES, load};
use crate::model::id::ResourceName;
use crate::model::policy::{AfterSb0pri, Keep};
use proptest::prelude::*;

fn said(text: &str) -> String {
    load(text, "p.toml").unwrap_err().to_string()
}

#[test]
fn unknown_keys_and_values_are_explained() {
    assert_eq!(
        said("after-sb-0pri = \"disconnect\"\nafter-sb-3pri = \"disconnect\"\n"),
        "p.toml:2:1: unknown key `after-sb-3pri`, did you mean `after-sb-0pri`?\n    after-sb-3pri = \"disconnect\""
    );
    assert_eq!(
        said("  after-sb-2pri = \"discard-secondary\""),
        "p.toml:1:19: `after-sb-2pri` does not take `discard-secondary` (that is a value of after-sb-1pri); it takes \
         disconnect, violently-as0p, call-pri-lost-after-sb\n      after-sb-2pri = \"discard-secondary\""
    );
    assert_eq!(
        said("fence = \"requird\""),
        "p.toml:1:9: `fence` does not take `requird`, did you mean `required`?; it takes required, quorum, manual\n    \
         fence = \"requird\""
    );
    assert!(said("auto = \"yes\"").contains("`auto` does not take `yes` (that is a value of always-asbp)"));
    assert!(said("auto = [true]").contains("`auto` does not take a list"));
    assert!(said("after-sb-0pri = \"discard-node-\"").contains("discard-node-NAME"));
    assert!(said("description = 1").contains("`description` is a text, not `1`"));
    assert!(said("resource = 1").contains("unknown key `resource`"));
    assert!(said("net = 1").contains("unknown key `net`"));
}

#[test]
fn a_mistyped_word_is_no_node() {
    assert!(said("keep = \"newset\"").contains("did you mean `newest`?"));
    assert!(said("keep = \"discard-secondary\"").contains("that is a value of after-sb-1pri"));
    assert!(said("keep = \"a b\"").contains("`keep` does not take `a b`"));
    let policy = load("keep = \"node1\"", "p").unwrap();
    let settings = policy.settings_for(&ResourceName::new("r0").unwrap());
    assert!(matches!(&settings.keep, Some(Keep::Node(node)) if node.as_str() == "node1"));
}

#[test]
fn what_is_not_there_yet_is_said_so() {
    assert_eq!(
        said("merge = \"units\""),
        "p.toml:1:9: merging by units is not available in this release, use \"never\"\n    merge = \"units\""
    );
}

#[test]
fn sizes_are_sizes() {
    for bad in ["\"1 apple\"", "-1", "1.5", "\"-1\"", "99999999999999999999", "true"] {
        assert!(said(&format!("max-discard = {bad}")).contains("is not a size"), "{bad}");
    }
    for (good, bytes) in
        [("\"1GiB\"", Some(1 << 30)), ("4096", Some(4096)), ("0x1000", Some(4096)), ("\"unlimited\"", None)]
    {
        let policy = load(&format!("max-discard = {good}"), "p").unwrap();
        assert_eq!(policy.settings_for(&ResourceName::new("r0").unwrap()).max_discard, bytes);
    }
}

#[test]
fn all_problems_are_told_in_the_order_of_the_file() {
    let text = said("x = 1\nkeep = \"ask\"\ny = 2\n[[resource]]\nmatch = \"a\"\nz = 3\n");
    let places: Vec<&str> = text.lines().filter(|line| line.starts_with("p.toml")).collect();
    assert_eq!(
        places,
        ["p.toml:1:1: unknown key `x`", "p.toml:3:1: unknown key `y`", "p.toml:6:1: unknown key `z`"]
    );
}

#[test]
fn toml_errors_have_their_place() {
    let text = said("auto = true\nkeep = = 1\n");
    assert!(text.starts_with("p.toml:2:8: "), "{text}");
    assert!(text.ends_with("\n    keep = = 1"), "{text}");
    assert!(said("auto = true\nauto = false\n").starts_with("p.toml:2:1: duplicate key"));
}

#[test]
fn secrets_are_not_shown() {
    let text = said("[net]\nshared-secret \"hunter2\";\n");
    assert!(!text.contains("hunter2"), "{text}");
    assert!(!said("shared-secret = \"hunter2\"").contains("hunter2"));
}

#[test]
fn a_net_section_can_be_carried_over() {
    let policy = load(
        "[net]\nprotocol = \"C\"\nshared-secret = \"x\"\nafter-sb-0pri = \"discard-least-changes\"\nalways-asbp = \"yes\"\n",
        "p",
    )
    .unwrap();
    let settings = policy.settings_for(&ResourceName::new("r0").unwrap());
    assert_eq!(settings.after_sb_0pri, AfterSb0pri::DiscardLeastChanges);
    assert!(settings.always_asbp);
    assert!(said("[net]\nauto = true").contains("write it outside of `[net]`"));
    assert!(said("[net]\nprotocoll = \"C\"").contains("unknown key `protocoll`"));
    assert!(said("rr-conflict = \"violently\"\n[net]\nrr-conflict = \"violently\"").contains("given twice"));
    assert!(said("protocol = \"C\"").contains("unknown key `protocol`"));
}

#[test]
fn the_first_matching_resource_counts() {
    let policy = load(
        "auto = true\nmax-discard = 5\n[[resource]]\nmatch = \"vm-1*\"\nmax-discard = 6\n\
         [resource.net]\nafter-sb-0pri = \"discard-local\"\n[[resource]]\nmatch = \"{vm,ct}-*\"\nauto = false\n",
        "p",
    )
    .unwrap();
    let of = |name: &str| {
        let name = ResourceName::new(name).unwrap();
        (policy.settings_for(&name).clone(), policy.override_for(&name).map(str::to_owned))
    };
    let (first, glob) = of("vm-101");
    assert_eq!((first.auto, first.max_discard, glob.as_deref()), (true, Some(6), Some("vm-1*")));
    assert_eq!(first.after_sb_0pri, AfterSb0pri::DiscardLocal);
    let (second, glob) = of("ct-3");
    assert_eq!((second.auto, second.max_discard, glob.as_deref()), (false, Some(5), Some("{vm,ct}-*")));
    assert_eq!(of("db").1, None);
}

#[test]
fn tables_that_never_apply_are_told() {
    let two = |first: &str, second: &str| {
        load(&format!("[[resource]]\nmatch = \"{first}\"\n[[resource]]\nmatch = \"{second}\"\n"), "p.toml")
    };
    for (first, second) in
        [("*", "vm-*"), ("vm-*", "vm-*"), ("vm-*", "vm-1*"), ("vm-?", "vm-1"), ("**", "x"), ("{a,b}", "b")]
    {
        let text = two(first, second).unwrap_err().to_string();
        assert!(text.starts_with("p.toml:4:9: this `[[resource]]` never applies"), "{text}");
    }
    for (first, second) in [("vm-1*", "vm-*"), ("vm-?", "vm-10"), ("a", "b"), ("[ab]", "*")] {
        assert!(two(first, second).is_ok(), "{first} {second}");
    }
    assert!(said("[[resource]]\nauto = false").contains("has no `match"));
    assert!(said("[[resource]]\nmatch = \"[\"").contains("is not a glob"));
    assert!(said("[[resource]]\nmatch = \"\"").contains("it is empty"));
    assert!(said("[[resource]]\nmatch = 3").contains("it is not a text"));
}

#[test]
fn unsafe_combinations_are_told_where_they_are_made() {
    for (text, place) in [
        ("auto = true\nsalvage = \"off\"", "p.toml:2:11"),
        ("auto = true\nafter-sb-1pri = \"violently-as0p\"", "p.toml:2:17"),
        ("auto = true\nafter-sb-2pri = \"violently-as0p\"", "p.toml:2:17"),
        ("auto = true\nrr-conflict = \"violently\"", "p.toml:2:15"),
        ("auto = true\nfence = \"manual\"", "p.toml:2:9"),
        ("keep = \"n1\"\nafter-sb-0pri = \"discard-node-n1\"", "p.toml:1:8"),
        // One half from the file, the other from the table.
        ("salvage = \"off\"\n[[resource]]\nmatch = \"x\"\nauto = true", "p.toml:4:8"),
    ] {
        let said = said(text);
        assert!(said.starts_with(place) && (said.contains("unsafe combination")), "{said}");
        assert_eq!(said.matches("unsafe combination").count(), 1, "{said}");
    }
    // Told once, at the top, and not again for every table that inherits it.
    let text = said("auto = true\nsalvage = \"off\"\n[[resource]]\nmatch = \"x\"\n");
    assert_eq!(text.matches("unsafe combination").count(), 1, "{text}");
    assert!(load("auto = true\nsalvage = \"off\"\n[[resource]]\nmatch = \"x\"\nauto = false", "p").is_err());
}

#[test]
fn hostile_files_are_turned_away() {
    assert!(said(&" ".repeat(MAX_BYTES + 1)).contains("at most 1048576 are read"));
    assert!(said(&format!("x = {}", "[".repeat(10_000))).starts_with("p.toml:1:"));
    let glob = format!("[[resource]]\nmatch = \"{}\"", "{a,b}".repeat(40));
    assert!(said(&glob).contains("too many alternatives"));
    assert!(said(&format!("[[resource]]\nmatch = \"{}\"", "a".repeat(300))).contains("too long"));
    let many = "[[resource]]\nmatch = \"a\"\n".repeat(1001);
    assert!(said(&many).contains("more than 1000"));
    let long = said(&format!("\"{}\u{7}\" = 1", "k".repeat(5000)));
    assert!(long.len() < 500 && !long.contains('\u{7}'), "{}", long.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nonsense_is_an_error_and_no_panic(text in "\\PC{0,200}", bytes in any::<[u8; 64]>()) {
        for text in [text.as_str(), &String::from_utf8_lossy(&bytes)] {
            if let Err(errors) = load(text, "x") {
                prop_assert!(errors.errors.iter().all(|error| error.line > 0 && error.column > 0));
            }
            let _ = super::case::load(text, "x");
        }
    }
}
