//! Cases by name.

use super::case::{Case, Content, Differences, Log, Relation, Third, plain};
use super::check::{Bench, whole_line};
use super::image::SECTOR;
use super::make::make;
use super::tools::text;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use unsplit::model::drbd::{MetadataFormat, device_flag as flag};
use unsplit::model::evidence::MetadataPlace;

const FORMATS: [MetadataFormat; 2] = [MetadataFormat::V08, MetadataFormat::V09];

/// What no bitmap marks is not seen, not healed and not lost; `--full` sees and heals it, and every step can be taken back.
#[test]
fn a_lie_of_the_bitmap() {
    for format in FORMATS {
        let case = Case { differences: Differences::Unmarked, ..plain("a lie of the bitmap", format) };
        // The whole line without and with `--full`, each answer checked.
        whole_line(&case);
        whole_line(&Case { full: true, ..case.clone() });

        // One after the other: the first healing leaves the lie where it was, the second finds it.
        let bench = Bench::of(&case);
        let said = text(&bench.on_pair("resolve", &["--keep", "a", "--yes"], 0));
        assert!(
            said.contains("by comparing again all that the plan had compared; no more than that"),
            "{said}"
        );
        let diff = bench.json("diff", &["--full"], 1);
        assert_eq!(diff["volumes"][0]["relation"], "in-sync");
        assert!(text(&bench.on_pair("diff", &["--full"], 1)).contains("WARNING"));
        // The generations are equal: only a person can say which side is right.
        bench.on_pair("plan", &["--full"], 3);
        let said = text(&bench.on_pair("resolve", &["--full", "--keep", "a", "--yes"], 0));
        assert!(said.contains("by comparing everything"), "{said}");
        assert!(bench.data(0) == bench.before[0] && bench.data(1) == bench.before[0]);
        bench.on_pair("diff", &["--full"], 0);
        // Back in the other order.
        bench.expect(&["undo"], 0);
        bench.on_pair("diff", &["--full"], 1);
        let healings: Vec<String> = {
            let history: serde_json::Value =
                serde_json::from_slice(&bench.expect(&["--json", "history"], 0).stdout).unwrap();
            let incidents = history["incidents"].as_array().unwrap();
            incidents.iter().map(|incident| incident["id"].as_str().unwrap().to_owned()).collect()
        };
        let first = &healings[0];
        bench.expect(&["undo", first], 0);
        bench.untouched("after two undos");
    }
}

/// Both sides keep their metadata on one device, at an index each.
#[test]
fn one_metadata_device_for_both_sides() {
    for format in FORMATS {
        let mut case = plain("one metadata device", format);
        case.sides[0].place = MetadataPlace::IndexedExternal(0);
        case.sides[1].place = MetadataPlace::IndexedExternal(1);
        let mut made = make(&case);
        // The second side's index, over the stranger's that the generator put there.
        let [first, second] = made.nodes.each_ref().map(|node| node.metadata.clone().unwrap());
        let mut half = vec![0; 1 << 20];
        let from = made.nodes[1].layout.superblock;
        File::open(&second).unwrap().read_exact_at(&mut half, from).unwrap();
        File::options().write(true).open(&first).unwrap().write_all_at(&half, from).unwrap();
        made.nodes[1].metadata = Some(first.clone());
        let bench = Bench::over(made);
        bench.whole_line();

        // The same metadata twice is no pair, and neither is the other side's data.
        let device = first.display().to_string();
        let (a, b) =
            (bench.made.nodes[0].data.display().to_string(), bench.made.nodes[1].data.display().to_string());
        let twice = format!("{device}:0");
        bench.expect(&["status", &a, &b, "--meta-a", &twice, "--meta-b", &twice], 2);
        bench.expect(&["status", &a, &b, "--meta-a", &b], 2);
        // Which of the two indexes is whose must be said.
        let said = text(&bench.expect(&["status", &a, &b, "--meta-a", &device, "--meta-b", &device], 4));
        assert!(said.contains("[0, 1]"), "{said}");
    }
}

/// Node ids, slots and grains that nobody expects, two hot logs, and a third node that must learn what it misses.
#[test]
fn a_third_node_loses_no_mark() {
    for third in [Third::Shared, Third::Since] {
        let mut case = plain("a third node", MetadataFormat::V09);
        for (side, spec) in case.sides.iter_mut().enumerate() {
            spec.max_peers = 7;
            spec.node_id = [12, 5][side];
            spec.slot = [6, 3][side];
            spec.third = third;
            spec.bytes_per_bit = [1 << 20, 65536][side];
            spec.log = [Log::Hot, Log::Wrapped][side];
            spec.stripes = (4, 16);
        }
        whole_line(&case);
    }
}

/// The last block is cut short, on external metadata of either kind, and what stands behind it is nobody's.
#[test]
fn a_partial_last_block() {
    for (format, ragged) in [(MetadataFormat::V08, 7), (MetadataFormat::V09, 1)] {
        let mut case = plain("a partial last block", format);
        case.differences = Differences::LastBlock;
        case.sectors -= ragged;
        case.sides[0].place = MetadataPlace::FlexibleExternal;
        case.sides[1].place = MetadataPlace::IndexedExternal(1);
        case.sides[1].spare = 3;
        case.sides[0].garbage = true;
        whole_line(&case);
    }
}

/// A data image that is no whole number of sectors.
#[test]
fn an_image_with_a_ragged_end() {
    let mut case = plain("a ragged end", MetadataFormat::V08);
    case.sides[0].place = MetadataPlace::FlexibleExternal;
    case.sides[1].place = MetadataPlace::FlexibleExternal;
    let made = make(&case);
    File::options()
        .write(true)
        .open(&made.nodes[1].data)
        .unwrap()
        .write_all_at(&[7; 100], made.size)
        .unwrap();
    Bench::over(made).whole_line();
}

/// File systems in a logical volume of a healed victim, and in the salvage of it, are whole.
#[test]
fn file_systems_stay_whole() {
    for format in FORMATS {
        let mut case = plain("file systems", format);
        case.content = Content::Ext4;
        case.sides[0].log = Log::Hot;
        case.sides[1].tail = 5;
        whole_line(&case);
    }
}

/// Everything differs, everything is marked, nothing else.
#[test]
fn a_whole_volume() {
    for format in FORMATS {
        whole_line(&Case { differences: Differences::Whole, ..plain("a whole volume", format) });
    }
}

/// A resync was cut off: the target is Inconsistent, and can be healed but never kept.
#[test]
fn a_resync_cut_off() {
    for format in FORMATS {
        let case = Case { relation: Relation::AheadByBitmap, ..plain("a resync cut off", format) };
        let made = make(&case);
        let flags = flag::WAS_UP_TO_DATE | flag::AL_CLEAN;
        patch(&made.nodes[1], 56, &flags.to_be_bytes());
        let bench = Bench::over(made);
        bench.heals_and_undoes(0);
        bench.on_pair("plan", &["--keep", "b"], 3);
    }
}

/// The superblock says that everything has to be synced: then nothing but everything is a candidate.
#[test]
fn a_full_sync_is_due() {
    for format in FORMATS {
        let case = Case { differences: Differences::Unmarked, ..plain("a full sync is due", format) };
        let made = make(&case);
        let unmarked = made.case.differences == Differences::Unmarked;
        assert!(unmarked);
        match format {
            MetadataFormat::V08 => patch(&made.nodes[0], 56, &(made.nodes[0].told.flags | 8).to_be_bytes()),
            // Flags of the peer with node id 1.
            MetadataFormat::V09 => patch(&made.nodes[0], 112 + 32 + 16, &0x1_0018u32.to_be_bytes()),
        }
        let bench = Bench::over(made);
        let diff = bench.json("diff", &[], 1);
        assert_eq!(diff["volumes"][0]["delta"]["compared"].as_u64().unwrap(), bench.made.size);
        let all = bench.json("diff", &["--full"], 1);
        assert_eq!(diff["volumes"][0]["delta"]["differs"], all["volumes"][0]["delta"]["differs"]);
        bench.on_pair("resolve", &["--keep", "b", "--yes"], 0);
        assert!(bench.data(0) == bench.before[1]);
        bench.on_pair("diff", &["--full"], 0);
        bench.expect(&["undo"], 0);
        bench.untouched("after an undo");
    }
}

/// Superblocks of old 8.4 say nothing of stripes: 0 and 0 mean 1 and 8.
#[test]
fn stripes_left_unsaid() {
    let made = make(&plain("stripes left unsaid", MetadataFormat::V08));
    made.nodes.iter().for_each(|node| patch(node, 88, &[0; 8]));
    Bench::over(made).whole_line();
}

/// Overwrites some bytes of a superblock.
fn patch(node: &super::make::Node, at: u64, bytes: &[u8]) {
    let file = File::options().write(true).open(node.metadata_file()).unwrap();
    file.write_all_at(bytes, node.layout.superblock + at).unwrap();
}

/// What a first write after the healing changed is never undone.
#[test]
fn an_undo_does_not_overwrite_what_is_newer() {
    let bench = Bench::of(&plain("newer data", MetadataFormat::V09));
    bench.on_pair("resolve", &["--keep", "a", "--yes"], 0);
    let victim = &bench.made.nodes[1].data;
    let overwritten = fs::read(victim).unwrap();
    let differing = bench.before[0].chunks(512).zip(bench.before[1].chunks(512)).position(|(a, b)| a != b);
    let at = differing.unwrap() as u64 * SECTOR;
    File::options().write(true).open(victim).unwrap().write_all_at(&[0xa5; 512], at).unwrap();
    bench.expect(&["undo"], 4);
    let mut expected = overwritten;
    let at = usize::try_from(at).unwrap();
    expected[at..at + 512].fill(0xa5);
    assert!(fs::read(victim).unwrap() == expected);
}
