//! What each side loses: by its own names where partition tables changed during the split, and never less than what it may have
//! written.

use super::scene::{BLOCK, Scene};
use super::{BASE, CURRENT, QUIET, Side, scene, unbroken};
use serde_json::Value;
use unsplit::model::drbd::MetadataFormat;

/// A boot sector with MBR partitions: first block and number of blocks of each.
fn table(partitions: &[(u64, u64)]) -> Vec<u8> {
    let mut sector = vec![0; 512];
    sector[440..444].copy_from_slice(&0xCAFE_F00Du32.to_le_bytes());
    for (slot, (first, count)) in partitions.iter().enumerate() {
        let at = 446 + 16 * slot;
        let sectors = |blocks: u64| u32::try_from(blocks * 8).unwrap().to_le_bytes();
        sector[at + 4] = 0x83;
        sector[at + 8..at + 12].copy_from_slice(&sectors(*first));
        sector[at + 12..at + 16].copy_from_slice(&sectors(*count));
    }
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// A split brain: a wrote to partitions 1 and 2, b to 2 and 3, which only b has.
fn split() -> Scene {
    let a = Side {
        current: CURRENT + 0x1000,
        bitmap: BASE,
        marks: &[20, 400],
        writes: &[(20, 0x41), (400, 0x42)],
        ..QUIET
    };
    let b = Side {
        current: CURRENT + 0x2000,
        bitmap: BASE,
        marks: &[0, 400, 600, 601],
        writes: &[(400, 0x62), (600, 0x63), (601, 0x64)],
        ..QUIET
    };
    let scene = scene(MetadataFormat::V08, &a, &b);
    let partitions = [(16, 200), (256, 200), (512, 200)];
    scene.poke("a.img", 0, &table(&partitions[..2]));
    scene.poke("b.img", 0, &table(&partitions));
    scene
}

/// The part of a screen under a heading.
fn under<'t>(text: &'t str, heading: &str) -> &'t str {
    let (_, rest) = text.split_once(heading).unwrap_or_else(|| panic!("no `{heading}` in:\n{text}"));
    rest.split("\n\n").next().unwrap()
}

#[test]
fn each_side_loses_what_it_calls_its_own() {
    let scene = split();
    let plan = scene.run(&["plan", "a.img", "b.img", "--keep", "a"]);
    plan.says(1, &[]);
    let lost = under(&plan.out, "What b will lose");
    for words in [
        "partition table",
        "partition 2 (Linux)",
        "partition 3 (Linux): exists only on b, disappears",
        "8 KiB written only on b",
    ] {
        assert!(lost.contains(words), "`{words}` is not in:\n{lost}");
    }

    let plan = scene.run(&["plan", "a.img", "b.img", "--keep", "b"]);
    plan.says(1, &[]);
    let lost = under(&plan.out, "What a will lose");
    for words in ["partition 1 (Linux)", "partition 3 (Linux): exists only on b, appears on a"] {
        assert!(lost.contains(words), "`{words}` is not in:\n{lost}");
    }

    let diff = scene.run(&["diff", "a.img", "b.img"]);
    diff.says(1, &["partition 3 (Linux), exists only on b", "partition 3 (Linux): exists only on b;"]);
    let report = scene.run(&["report", "a.img", "b.img"]);
    unbroken(&report).says(1, &["partition 3 (Linux)", "partition 3 (Linux): exists only on b, disappears"]);
    let page = scene.path("page.html");
    scene.run(&["report", "a.img", "b.img", "--html", page.to_str().unwrap()]).says(1, &[]);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("exists only on b, disappears"), "{page}");
}

/// The same for programs; and what is told adds up to what is overwritten.
#[test]
fn programs_are_told_the_same() {
    let scene = split();
    for (keep, fate) in [("a", "disappears"), ("b", "appears")] {
        let ran = scene.run(&["plan", "a.img", "b.img", "--keep", keep, "--json"]);
        let document: Value = serde_json::from_str(&ran.out).unwrap();
        let losses = document["plan"]["volumes"][0]["losses"].as_array().unwrap();
        let third = losses.iter().find(|loss| loss["unit"] == "partition 3 (Linux)").unwrap();
        assert_eq!(third["fate"]["becomes"], fate);
        let sum = |loss: &Value| {
            ["victim_only", "both", "survivor_only", "unmarked"]
                .map(|key| loss[key].as_u64().unwrap())
                .iter()
                .sum::<u64>()
        };
        assert_eq!(losses.iter().map(sum).sum::<u64>(), 5 * BLOCK);
    }
    scene.run(&["resolve", "a.img", "b.img", "--keep", "a", "--yes"]).says(0, &["Healed"]);
    scene.run(&["undo"]).says(0, &["Undone"]);
}

/// Two 8.4 nodes whose bitmaps start from different generations: a's marks say nothing of what b wrote before its own bitmap
/// started. Block 20 is a's, blocks 400 and 401 were written by both and marked by a alone.
fn without_a_common_base() -> Scene {
    let a = Side {
        current: CURRENT + 0x1000,
        bitmap: BASE,
        marks: &[20, 400, 401],
        writes: &[(400, 0x42), (401, 0x43)],
        ..QUIET
    };
    let b = Side {
        current: CURRENT + 0x2000,
        bitmap: BASE + 0x4000,
        writes: &[(400, 0x62), (401, 0x63)],
        ..QUIET
    };
    scene(MetadataFormat::V08, &a, &b)
}

/// Without a common base a mark tells who marked, not who wrote: no screen says that nothing is lost.
#[test]
fn marks_without_a_common_base_do_not_say_who_wrote() {
    let scene = without_a_common_base();
    let why = "the two bitmaps do not start from the same generation";
    let plan = scene.run(&["plan", "a.img", "b.img", "--keep", "a"]);
    plan.says(1, &[]);
    let lost = under(&plan.out, "What b will lose");
    for words in [
        "Nothing that b marked, and 8 KiB that it may have written all the same.",
        "And 8 KiB that only a marked will be copied to b.",
        "Of that, 8 KiB may have been written on b as well",
        why,
    ] {
        assert!(lost.contains(words), "`{words}` is not in:\n{lost}");
    }
    let json = scene.run(&["plan", "a.img", "b.img", "--keep", "a", "--json"]);
    let document: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(document["plan"]["volumes"][0]["doubtful"], 2 * BLOCK);
    assert_eq!(document["plan"]["ground"]["images"]["common_base"], false);

    let diff = scene.run(&["diff", "a.img", "b.img"]);
    diff.says(1, &["marked only on a", "8 KiB may have been written on b as well", why]);
    let report = unbroken(&scene.run(&["report", "a.img", "b.img"]));
    report.says(1, &["8 KiB marked on a only", why]);
    report.says(1, &["and 8 KiB that only a marked and b may have written, too"]);
    let page = scene.path("page.html");
    scene.run(&["report", "a.img", "b.img", "--html", page.to_str().unwrap()]).says(1, &[]);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("and 8 KiB that only a marked and b may have written, too"), "{page}");
    for said in [&plan.out, &diff.out, &report.out, &page] {
        for claim in [
            "Nothing that b wrote",
            "written only on",
            "changed on a only",
            "nothing is lost",
            "Nothing is lost",
            "log was hot",
        ] {
            assert!(!said.contains(claim), "`{claim}` in:\n{said}");
        }
    }
    // What b may have written is kept like everything else.
    scene.run(&["resolve", "a.img", "b.img", "--keep", "a", "--yes"]).says(0, &["Healed"]);
    scene.run(&["undo"]).says(0, &["Undone"]);
}
