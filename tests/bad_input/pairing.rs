//! Two sides that are no pair, or not quite: sizes that differ, devices that grew, stacked resources, node ids that do not
//! fit, names that would be mistaken.

use super::scene::image::Metadata;
use super::scene::{SIZE, SUPERBLOCK, Scene, image_of_drbd9};
use std::fs::{self, File};
use unsplit::model::drbd::MetadataFormat;

const MIB: u64 = 1 << 20;

/// Metadata on `size` bytes with this current generation, bitmap generation, and past one.
fn metadata(format: MetadataFormat, size: u64, node: u8, [current, bitmap, past]: [u64; 3]) -> Metadata {
    Metadata::internal(format, size).of_node(node, 1 - node).generations(current, bitmap, [past])
}

/// Writes the metadata into a file of `size` bytes, which is made if it is not there.
fn put(scene: &Scene, name: &str, size: u64, metadata: &Metadata) {
    let file = File::options().create(true).truncate(false).write(true).open(scene.path(name)).unwrap();
    file.set_len(size).unwrap();
    metadata.put_on(&file);
}

#[track_caller]
fn refused(scene: &Scene, code: i32, says: &[&str]) {
    for words in [
        &["status", "a.img", "b.img"][..],
        &["diff", "a.img", "b.img", "--full"],
        &["plan", "a.img", "b.img", "--keep", "a"],
        &["report", "a.img", "b.img"],
        &["resolve", "a.img", "b.img", "--keep", "a", "--yes"],
    ] {
        scene.refuses(words, code, says);
    }
}

/// One side was resized, the other's backing device grew but its metadata did not move: neither advice may lead into the
/// other one's.
#[test]
fn resized_on_one_side() {
    for format in [MetadataFormat::V08, MetadataFormat::V09] {
        let scene = Scene::empty();
        put(&scene, "a.img", 6 * MIB, &metadata(format, 6 * MIB, 0, [0xA0, 0xB0, 0x10]));
        put(&scene, "b.img", 4 * MIB, &metadata(format, 4 * MIB, 1, [0xB0, 0, 0x10]));
        let need = (6 * MIB).to_string();
        refused(
            &scene,
            4,
            &["side b 3", "b is BEHIND", "make b's backing device at least", &need, "check-resize"],
        );
        File::options().write(true).open(scene.path("b.img")).unwrap().set_len(6 * MIB).unwrap();
        let says =
            ["side b: it was grown from 4194304 to 6291456 bytes", "b is BEHIND", "drbdadm check-resize RES"];
        refused(&scene, 4, &says);
        for words in
            [&["status", "a.img", "b.img"][..], &["resolve", "a.img", "b.img", "--keep", "a", "--yes"]]
        {
            let all = scene.run(words).all().to_lowercase();
            assert!(!all.contains("cut ") && !all.contains("resize the other"), "{all}");
        }
        // The same with the grown side on a peer.
        let agent = format!("exec:{} agent --stdio", env!("CARGO_BIN_EXE_unsplit"));
        let there = scene.path("b.img").display().to_string();
        scene.refuses(&["status", "a.img", &there, "--peer", &agent], 4, &says);
    }
}

/// A device may grow between the plan and its execution: then its metadata has to move first.
#[test]
fn grown_after_the_plan() {
    let scene = Scene::split();
    let plan = scene.plan();
    File::options().write(true).open(scene.path("b.img")).unwrap().set_len(SIZE + MIB).unwrap();
    scene.refuses(&["resolve", "--plan", &plan, "--yes"], 4, &["it was grown from", "check-resize"]);
    // The cause says what is; what to do stands once, behind `next`.
    let ran = scene.run(&["status", "a.img", "b.img"]);
    assert_eq!(ran.all().matches("check-resize").count(), 1, "{}", ran.all());
}

/// Both hold more than is replicated, and nobody else is there who could hold less. DRBD's own rounding hides less than a
/// block.
#[test]
fn room_that_nothing_explains() {
    for (format, header) in [MetadataFormat::V08, MetadataFormat::V09]
        .into_iter()
        .flat_map(|format| [(format, 4096), (format, 65536)])
    {
        let scene = Scene::empty();
        for (name, node) in [("a", 0), ("b", 1)] {
            let current = 0xA0 + u64::from(node) * 16;
            let own = metadata(format, SIZE, node, [current, 0x20, 0x10]);
            put(&scene, "inner", SIZE, &own);
            let bytes = [vec![0; header], fs::read(scene.path("inner")).unwrap()].concat();
            fs::write(scene.path(format!("{name}.img")), bytes).unwrap();
        }
        refused(&scene, 4, &[&*format!("both sides have {header} bytes more room"), "--as-is-a"]);
        scene.run(&["status", "a.img", "b.img", "--as-is-a"]).says(1, &["SPLIT BRAIN"]);
        // By different room: told.
        let b = [vec![0; 65536], fs::read(scene.path("b.img")).unwrap()].concat();
        fs::write(scene.path("b.img"), b).unwrap();
        let told = format!("{header} bytes more on a, {} on b", header + 65536);
        scene.run(&["status", "a.img", "b.img"]).says(1, &["SPLIT BRAIN", &told]);
    }
}

/// A resource on top of another one: the lower one's device holds two superblocks.
#[test]
fn stacked_resources() {
    let scene = Scene::empty();
    for (name, node) in [("a", 0), ("b", 1)] {
        let own = 0x100 * u64::from(node);
        let lower = metadata(MetadataFormat::V08, SIZE, node, [own + 0xA0, 0x20, 0x10]);
        let size = lower.size();
        let mut upper = metadata(MetadataFormat::V08, size, node, [own + 0xC0, 0x40, 0x30]);
        upper.told.device_uuid += 0x7700;
        put(&scene, &format!("{name}.img"), size, &upper);
        scene.copy(&format!("{name}.img"), &format!("{name}-upper.img"));
        put(&scene, &format!("{name}.img"), SIZE, &lower);
    }
    scene.run(&["status", "a.img", "b.img"]).says(
        1,
        &[
            "SPLIT BRAIN",
            "Inside a's volume stands the superblock of another resource",
            "00000000000000C0",
            "stacked",
        ],
    );
    scene.run(&["status", "a-upper.img", "b-upper.img"]).says(1, &["SPLIT BRAIN", "00000000000000C0"]);
    scene.refuses(
        &["status", "a.img", "b-upper.img"],
        4,
        &["side b is what stands inside side a's volume", "a stacked resource", "Give the upper one of both"],
    );
    scene.refuses(&["status", "a-upper.img", "b.img"], 4, &["side a is what stands inside side b's volume"]);
}

#[test]
fn node_ids_that_do_not_fit() {
    let scene = Scene::empty();
    fs::write(scene.path("b.img"), image_of_drbd9(0)).unwrap();
    // It knows node 0, and says that it is node 2 itself.
    let mut a = image_of_drbd9(1);
    let node_id = usize::try_from(SUPERBLOCK).unwrap() + 92;
    a[node_id..node_id + 4].copy_from_slice(&2i32.to_be_bytes());
    fs::write(scene.path("a.img"), a).unwrap();
    refused(&scene, 4, &["side a says that it is node id 2, but side b keeps bitmaps for node id 1 only"]);
}

/// DRBD refuses the pair, yet the sides know a generation in common.
#[test]
fn unrelated_that_share_a_generation() {
    let scene = Scene::empty();
    put(&scene, "a.img", SIZE, &metadata(MetadataFormat::V09, SIZE, 0, [0xA0, 0, 0xE0]));
    put(&scene, "b.img", SIZE, &metadata(MetadataFormat::V09, SIZE, 1, [0xB0, 0xE0, 0xD0]));
    let shared = "Generation 00000000000000E0 is known to both (it is a's past generation and b's bitmap's generation)";
    let ran = scene.run(&["status", "a.img", "b.img"]);
    ran.says(1, &["UNRELATED", shared, "/b.img --full"]);
    assert!(!ran.all().contains("no generation in common"), "{}", ran.all());
    let ran = scene.refuses(&["diff", "a.img", "b.img"], 3, &[shared, "--full compares everything"]);
    assert!(!ran.all().contains("no generation in common"), "{}", ran.all());
    scene.run(&["diff", "a.img", "b.img", "--full"]).says(1, &[]);
}

#[test]
fn a_side_may_not_bear_the_other_sides_letter() {
    let scene = Scene::split();
    for names in [["b", "a"], ["b", "c"], ["c", "a"]] {
        let words =
            ["resolve", "a.img", "b.img", "--name-a", names[0], "--name-b", names[1], "--keep", "a", "--yes"];
        scene.refuses(&words, 2, &["means the other side"]);
    }
    scene.run(&["status", "a.img", "b.img", "--name-a", "a", "--name-b", "c"]).says(1, &["SPLIT BRAIN"]);
}
