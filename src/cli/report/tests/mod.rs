//! The report's tests: what is conserved, bounded and escaped, and how it looks.

mod sample;

use super::map::{cells, region_cells, touch, window_of_differences};
use super::*;
use crate::model::delta::Delta;
use crate::model::extent::Extent;
use crate::model::seen::Why;
use crate::model::side::Side;
use crate::model::size::BLOCK;
use crate::model::verdict::{Reason, Trace};
use proptest::prelude::*;
use sample::{SIZE, report};

/// Writes the pages that are looked at in a browser when the page's looks are changed.
#[test]
#[ignore = "writes sample pages into the temporary directory, for looking at them"]
fn write_sample_pages() {
    let dir = std::env::temp_dir();
    let mut healed = report();
    healed.verdict =
        Some(Verdict::Heal { survivor: Side::A, auto: false, trace: Trace::new(reason("keep = node1")) });
    for (name, data) in [
        ("sample", report()),
        ("healed", healed),
        ("big", crowded(10_000, 300_000, 16 << 40)),
        ("many", crowded(40, 5_000, 2 << 40)),
        ("hostile", hostile()),
        ("agree", agreeing()),
    ] {
        std::fs::write(dir.join(format!("unsplit-report-{name}.html")), html::render_html(&data)).unwrap();
        std::fs::write(dir.join(format!("unsplit-report-{name}.txt")), text::render_text(&data)).unwrap();
    }
}

fn reason(rule: &str) -> Reason {
    Reason { rule: rule.to_owned(), evidence: "evidence".to_owned(), conclusion: "conclusion".to_owned() }
}

/// A volume of many units and extents, scattered without a pattern that would let cells merge.
fn crowded(units: u64, extents: u64, size: u64) -> ReportData {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut scatter = |n: u64| -> ExtentSet {
        let blocks = size / BLOCK;
        let one = |_| Extent { start: random() % (blocks - 64) * BLOCK, len: (1 + random() % 64) * BLOCK };
        (0..n).map(one).collect()
    };
    let marked = Pair::new(scatter(extents / 2), scatter(extents / 2));
    let differs = marked.a.union(&marked.b).subtract(&scatter(extents / 4)).union(&scatter(extents / 50));
    let mut data = report();
    let delta = Delta { size, marked, differs, ..sample::delta() };
    data.size = size;
    data.classes = ClassFacts::all(&delta);
    let each = size / units / BLOCK * BLOCK;
    data.units = (0..units)
        .map(|n| {
            let extents = std::iter::once(Extent { start: n * each, len: each }).collect();
            let name = format!("vg/vm-{n}-disk-0");
            UnitRow::new(name, UnitKind::LogicalVolume, None, extents, &data.classes)
        })
        .collect();
    data.if_keep = Pair::from_fn(|side| Discard::new(side, &data.classes, &data.units));
    data
}

/// Every text that comes from outside is an attack.
fn hostile() -> ReportData {
    let evil = "</style></script><script>alert(1)</script>\"' onload=alert(2) x='\u{202e}\n<img src=x onerror=alert(3)>&";
    let mut data = report();
    let text = || evil.to_owned();
    data.title = text();
    data.generated_at = text();
    data.names = Pair::new(text(), evil.to_uppercase());
    for side in [&mut data.sides.a, &mut data.sides.b] {
        side.data = text();
        side.metadata = format!("/dev/{evil}");
        side.taken_at = text();
    }
    for unit in &mut data.units {
        unit.name = text();
        unit.content = Some(text());
    }
    data.if_keep = Pair::from_fn(|side| Discard::new(side, &data.classes, &data.units));
    if let Some(comparison) = &mut data.comparison {
        comparison.name = text();
        comparison.result = text();
        comparison.reconnect = text();
        comparison.quirks = vec![text()];
    }
    data.layout_notes = vec![text()];
    data.unreadable =
        vec![Unreadable { side: Side::B, extent: Extent { start: 4 << 20, len: 2 << 20 }, why: Why(text()) }];
    let evil = Reason { rule: text(), evidence: text(), conclusion: text() };
    data.verdict = Some(Verdict::Refuse { trace: Trace::new(evil) });
    data.next = vec![NextCommand::new(text(), text())];
    data
}

/// Two sides that agree.
fn agreeing() -> ReportData {
    let delta = Delta {
        marked: Pair::new(ExtentSet::empty(), ExtentSet::empty()),
        differs: ExtentSet::empty(),
        scope: Scope::Everything,
        compared: SIZE,
        ..sample::delta()
    };
    let mut data = report();
    data.classes = ClassFacts::all(&delta);
    data.scope = Scope::Everything;
    data.compared = SIZE;
    let lv = UnitKind::LogicalVolume;
    data.units = vec![sample::unit("drbdvg/vm-101-disk-0", lv, Some("ext4"), (0, 96), &data.classes)];
    data.if_keep = Pair::from_fn(|side| Discard::new(side, &data.classes, &data.units));
    if let Some(comparison) = &mut data.comparison {
        comparison.relation = Relation::InSync;
        comparison.reconnect = "connect, without a resync".to_owned();
    }
    for side in Side::BOTH {
        (data.sides[side].bits, data.sides[side].bits_after_replay) = (0, 0);
    }
    data.verdict = Some(Verdict::Agree { trace: Trace::new(reason("v08 rule 40")) });
    data.next.clear();
    data
}

/// Markup of a page: its tags, without the texts between them, and without the page's own script and style.
fn tags(page: &str) -> Vec<String> {
    let mut tags = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>').unwrap();
        let tag = rest[start..=end].to_owned();
        rest = &rest[end + 1..];
        for raw in ["style", "script"] {
            if tag == format!("<{raw}>") {
                let close = format!("</{raw}>");
                rest = &rest[rest.find(&close).unwrap() + close.len()..];
            }
        }
        tags.push(tag);
    }
    tags
}

#[test]
fn hostile_names_stay_text() {
    let page = html::render_html(&hostile());
    let tags = tags(&page);
    assert_eq!(tags.iter().filter(|tag| tag.starts_with("<script")).count(), 1);
    assert!(tags.iter().all(|tag| !tag.starts_with("<img")));
    // An attribute can only be left through its quote, so outside the quotes no event handler may stand.
    for tag in &tags {
        let outside: String = tag.split('"').step_by(2).collect();
        assert!(!outside.contains(" on") && !outside.contains('\''), "{tag}");
    }
    assert!(!page.contains('\u{202e}'));
    assert!(page.contains("&lt;script&gt;alert(1)"));
    let text = text::render_text(&hostile());
    assert!(!text.contains('\u{202e}') && !text.contains("\n<img"));
}

#[test]
fn only_our_own_style_and_script_run() {
    let page = html::render_html(&report());
    for tag in tags(&page) {
        for loads in [" src=", " style=", " on", "url(", "http:", "https:"] {
            assert!(!tag.contains(loads), "{tag}");
        }
        assert!(!tag.contains(" href=") || tag.contains(" href=\"#"), "{tag}");
    }
}

#[test]
fn the_policy_names_the_style_and_the_script_of_the_page() {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let page = html::render_html(&report());
    for (tag, directive) in [("style", "style-src"), ("script", "script-src")] {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        let start = page.find(&open).unwrap() + open.len();
        let body = &page[start..start + page[start..].find(&close).unwrap()];
        let spawned = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut sum) = spawned else {
            return crate::skipped::lacking("there is no sha256sum here");
        };
        sum.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
        let hex = String::from_utf8(sum.wait_with_output().unwrap().stdout).unwrap();
        let digest: Vec<u8> =
            (0..32).map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap()).collect();
        let expected = format!("{directive} 'sha256-{}'", base64(&digest));
        assert!(page.contains(&expected), "{tag} changed: its policy must say {expected}");
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for letter in 0..4 {
            let bits = (word >> (18 - 6 * letter)) & 63;
            out.push(if letter <= chunk.len() { char::from(LETTERS[bits as usize]) } else { '=' });
        }
    }
    out
}

#[test]
fn a_page_is_bounded_whatever_the_input() {
    let mut data = crowded(10_000, 1_000_000, 16 << 40);
    assert!(data.classes.iter().map(|facts| facts.differs.runs()).sum::<usize>() > 500_000);
    for unit in &mut data.units {
        unit.name = format!("{}{}", "\"".repeat(500), unit.name);
    }
    let note = "\"".repeat(10_000);
    data.layout_notes = vec![note.clone(); 10_000];
    data.next = vec![NextCommand::new(note.clone(), &note[..900]); 100];
    data.names = Pair::new(note.clone(), note.clone());
    data.comparison.as_mut().unwrap().quirks = vec![note.clone(); 1000];
    let mut trace = Trace::new(reason("first"));
    (0..1000).for_each(|_| trace.push(note.clone(), note.clone(), note.clone()));
    data.verdict = Some(Verdict::Refuse { trace });
    let lost = |n: u64| Unreadable {
        side: Side::A,
        extent: Extent { start: n << 30, len: 4096 },
        why: Why(note.clone()),
    };
    data.unreadable = (0..10_000).map(lost).collect();
    let page = html::render_html(&data);
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    assert!(page.contains("9500 more units with fewer differences"));
    let text = text::render_text(&data);
    assert!(text.len() < 500_000, "{} bytes", text.len());
    let command = |line: &str| line.starts_with("  \"\"") && line.len() == 902;
    assert!(text.lines().all(|line| line.chars().count() <= text::WIDTH || command(line)));
}

#[test]
fn an_ordinary_crowd_stays_below_a_megabyte_and_keeps_its_strips() {
    let page = html::render_html(&crowded(2_000, 100_000, 16 << 40));
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    assert!(page.matches("class=\"unit\"").count() > 20);
}

#[test]
fn nothing_differs_and_nothing_exists() {
    let text = text::render_text(&agreeing());
    assert!(text.contains("IN SYNC: node1 and node2 hold the same data."), "{text}");
    let page = html::render_html(&agreeing());
    assert!(page.contains("In sync: node1") && !page.contains("What each choice would discard"));
    // Equal contents are only claimed when all of them were read.
    let mut data = agreeing();
    data.scope = Scope::Candidates;
    assert!(!text::render_text(&data).contains("hold the same data"));
    data.size = 0;
    data.classes.clear();
    data.units.clear();
    assert!(html::render_html(&data).contains("Both sides"));
    assert!(text::render_text(&data).contains("Both sides"));
}

#[test]
fn the_headline_never_calls_unread_or_differing_data_fine() {
    for relation in
        [Relation::InSync, Relation::Ahead, Relation::Behind, Relation::Diverged, Relation::Unrelated]
    {
        let mut data = report();
        data.comparison.as_mut().unwrap().relation = relation;
        assert_ne!(words::headline(&data).0, words::Mood::Calm, "{relation:?}");
        for mut data in [hostile(), agreeing()] {
            data.unreadable = hostile().unreadable;
            data.comparison.as_mut().unwrap().relation = relation;
            assert_eq!(words::headline(&data).0, words::Mood::Alarm, "{relation:?}");
        }
        let mut data = hostile();
        data.comparison.as_mut().unwrap().relation = relation;
        assert_eq!(words::headline(&data).0, words::Mood::Alarm, "{relation:?}");
    }
}

#[test]
fn the_sample_counts_what_was_written() {
    let data = report();
    let block = |n: u64| n * BLOCK;
    let expected = PerClass { only_a: block(80 + 20), only_b: block(80 + 20), both: block(20), unmarked: 0 };
    assert_eq!(data.differs(), expected);
    let shared = data.units.iter().find(|unit| unit.name.ends_with("shared")).unwrap();
    assert_eq!((shared.only_a, shared.only_b, shared.both), (block(20), block(20), block(20)));
    assert!(shared.conflict);
    assert_eq!(data.units.iter().filter(|unit| unit.conflict).count(), 1);
    assert_eq!(data.if_keep.a.bytes, block(120));
    let lost: Vec<_> =
        data.if_keep.a.units.iter().map(|loss| (loss.unit.as_str(), words::lost(loss))).collect();
    assert_eq!(lost, [("drbdvg/vm-102-disk-0", block(80)), ("drbdvg/shared", block(40))]);
    let json = serde_json::to_value(&data).unwrap();
    assert_eq!((json["schema"].as_str(), json["version"].as_u64()), (Some(SCHEMA), Some(1)));
    assert_eq!(json["units"][3]["both"].as_u64(), Some(block(20)));
}

#[test]
fn text_looks_like_this() {
    let text = text::render_text(&report());
    assert!(text.lines().all(|line| line.chars().count() <= text::WIDTH));
    insta::assert_snapshot!(text);
}

/// The page's body: style and script would only bury it.
#[test]
fn page_looks_like_this() {
    let page = html::render_html(&report());
    let body = &page[page.find("<main>").unwrap()..page.find("<script>").unwrap()];
    insta::assert_snapshot!(body.replace("><", ">\n<"));
}

/// Any set of extents below a size of a few thousand blocks, not aligned to anything.
fn sets(size: u64) -> impl Strategy<Value = ExtentSet> {
    let extent = (0..size, 1u64..400_000).prop_map(|(start, len)| Extent { start, len });
    prop::collection::vec(extent, 0..20)
        .prop_map(move |all| all.into_iter().collect::<ExtentSet>().clip(size))
}

const SMALL: u64 = 5_000_000;

fn classes() -> impl Strategy<Value = Vec<ClassFacts>> {
    (sets(SMALL), sets(SMALL), sets(SMALL)).prop_map(|(a, b, differs)| {
        let delta = Delta { size: SMALL, marked: Pair::new(a, b), differs, ..sample::delta() };
        ClassFacts::all(&delta)
    })
}

proptest! {
    #[test]
    fn cells_conserve_every_byte(classes in classes(), n in 1usize..3000, unread in sets(SMALL)) {
        let map = cells(SMALL, &classes, n);
        prop_assert!(map.len() <= n);
        prop_assert_eq!(map.iter().map(|cell| cell.len).sum::<u64>(), SMALL);
        prop_assert!(map.windows(2).all(|two| two[0].at + two[0].len == two[1].at && two[1].at % BLOCK == 0));
        for facts in &classes {
            let differs: u64 = map.iter().map(|cell| cell.differs[facts.class]).sum();
            let equal: u64 = map.iter().map(|cell| cell.equal[facts.class]).sum();
            prop_assert_eq!((differs, equal), (facts.differs_bytes, facts.equal_bytes));
            for cell in &map {
                let extent = Extent { start: cell.at, len: cell.len };
                prop_assert_eq!(cell.differs[facts.class], facts.differs.bytes_in(&extent));
            }
        }
        let lost: Vec<_> =
            unread.iter().map(|extent| Unreadable { side: Side::B, extent, why: Why::from("x") }).collect();
        let whole = Extent { start: 0, len: SMALL };
        let map = region_cells(&ExtentSet::whole(SMALL), whole, &classes, &lost, n);
        prop_assert_eq!(map.iter().map(|cell| cell.unreadable.b).sum::<u64>(), unread.bytes());
    }

    #[test]
    fn a_scattered_units_cells_conserve_its_bytes(
        classes in classes(), region in sets(SMALL), n in 1usize..300,
    ) {
        let row = UnitRow::new("x", UnitKind::LogicalVolume, None, region.clone(), &classes);
        let whole = Extent { start: 0, len: region.bytes() };
        let map = region_cells(&region, whole, &classes, &[], n);
        prop_assert!(map.len() <= n);
        prop_assert_eq!(map.iter().map(|cell| cell.len).sum::<u64>(), region.bytes());
        let sum = PerClass::from_fn(|class| map.iter().map(|cell| cell.differs[class]).sum());
        prop_assert_eq!(sum, row.differs());
        prop_assert_eq!(row.marked.total(), region.bytes());
        // What differs all stands inside the window, and the window ends where differences do.
        match window_of_differences(&region, &classes, &[]) {
            None => prop_assert_eq!(sum.total(), 0),
            Some(window) => {
                let inside = region_cells(&region, window, &classes, &[], n);
                let again = PerClass::from_fn(|class| inside.iter().map(|cell| cell.differs[class]).sum());
                prop_assert_eq!(again, sum);
                prop_assert!(window.end() <= region.bytes() && window.start % BLOCK == 0);
            }
        }
    }

    #[test]
    fn units_are_found_in_their_cells(classes in classes(), a in sets(SMALL), b in sets(SMALL), n in 1usize..200) {
        let kind = UnitKind::Partition;
        let rows = [a.clone(), b.subtract(&a)].map(|set| UnitRow::new("x", kind, None, set, &classes));
        let mut map = cells(SMALL, &classes, n);
        touch(&mut map, &rows);
        for cell in &map {
            let extent = Extent { start: cell.at, len: cell.len };
            let bytes = [0, 1].map(|unit: usize| rows[unit].extents.bytes_in(&extent));
            let present: Vec<usize> = (0..2).filter(|unit| bytes[*unit] > 0).collect();
            prop_assert_eq!(&cell.units, &present);
            prop_assert_eq!(cell.main.map(|(_, most)| most), bytes.into_iter().max().filter(|most| *most > 0));
        }
    }
}
