//! Bad images: what cannot be opened, is damaged, or is no pair.

use super::captures::Capture;
use super::scene::{BLOCK, SIZE, SUPERBLOCK, Scene, image_of_drbd9};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;

/// Every command that takes two sides, with `x.img` as the second one.
const COMMANDS: [&[&str]; 4] = [
    &["status", "a.img", "x.img"],
    &["diff", "a.img", "x.img"],
    &["plan", "a.img", "x.img", "--keep", "a"],
    &["resolve", "a.img", "x.img", "--keep", "a", "--yes"],
];

#[track_caller]
fn all_refuse(scene: &Scene, code: i32, says: &[&str]) {
    for words in COMMANDS {
        scene.refuses(words, code, says);
    }
}

/// A scene whose `x.img` is `b.img` after `spoil`.
fn with_x(spoil: impl FnOnce(&mut Vec<u8>)) -> Scene {
    let scene = Scene::split();
    let mut bytes = fs::read(scene.path("b.img")).unwrap();
    spoil(&mut bytes);
    fs::write(scene.path("x.img"), bytes).unwrap();
    scene
}

fn patch(image: &mut [u8], at: u64, bytes: &[u8]) {
    let at = usize::try_from(at).unwrap();
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

#[test]
fn what_cannot_be_opened() {
    let scene = Scene::split();
    all_refuse(&scene, 4, &["x.img: there is no such file or device"]);
    fs::create_dir(scene.path("x.img")).unwrap();
    all_refuse(&scene, 4, &["x.img: is a directory", "name an image file or a block device"]);
    fs::remove_dir(scene.path("x.img")).unwrap();
    File::create(scene.path("x.img")).unwrap();
    all_refuse(&scene, 4, &["x.img: is empty (0 bytes)"]);
    scene.refuses(&["status", "a.img", "/dev/null"], 4, &["/dev/null: is a character device"]);
    fs::remove_file(scene.path("x.img")).unwrap();
    std::os::unix::fs::symlink("nowhere", scene.path("x.img")).unwrap();
    all_refuse(&scene, 4, &["there is no such file"]);
    fs::remove_file(scene.path("x.img")).unwrap();
    // Opening a pipe would wait for ever.
    rustix::fs::mknodat(
        rustix::fs::CWD,
        scene.path("x.img"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    all_refuse(&scene, 4, &["x.img: is a pipe"]);
}

#[test]
fn what_may_not_be_read() {
    let scene = Scene::split();
    scene.copy("b.img", "x.img");
    fs::set_permissions(scene.path("x.img"), fs::Permissions::from_mode(0o0)).unwrap();
    let Some(ran) = scene.run_unprivileged(&["status", "a.img", "x.img"]) else { return };
    ran.says(4, &["x.img: may not be opened for reading", "run as root", "Permission denied"]);
}

#[test]
fn cut_and_grown_images() {
    let scene = with_x(|image| image.truncate(usize::try_from(SIZE - (1 << 20)).unwrap()));
    all_refuse(&scene, 4, &["side b", "x.img: no DRBD metadata found", "a complete copy is needed"]);
    let scene = with_x(|image| image.truncate(100));
    all_refuse(&scene, 4, &["side b", "100 bytes are too small to hold DRBD metadata"]);
    let scene = with_x(|image| image.resize(usize::try_from(SIZE + (1 << 20)).unwrap(), 0));
    all_refuse(&scene, 4, &["side b", "it was grown", "from 4194304 to 5242880 bytes", "byte 4190208"]);
    all_refuse(&scene, 4, &["SPLIT BRAIN", "`drbdadm check-resize RES`"]);
}

#[test]
fn no_metadata_at_all() {
    let scene = with_x(|image| image.fill(0));
    all_refuse(
        &scene,
        4,
        &["side b", "no DRBD metadata found", "internal (byte 4190208)", "If the metadata is external"],
    );
    scene.refuses(
        &["status", "a.img", "b.img", "--meta-b", "x.img"],
        4,
        &["side b", "x.img: no DRBD metadata found, tried external (byte 0)"],
    );
    scene.refuses(
        &["status", "a.img", "b.img", "--meta-b", "gone.img"],
        4,
        &["gone.img: there is no such file"],
    );
    scene.refuses(
        &["status", "a.img", "b.img", "--meta-b", "b.img"],
        2,
        &["--meta-b names the data device itself"],
    );
}

#[test]
fn damaged_superblocks() {
    for (at, bytes, says) in [
        (0, &[0xff; 8][..], &["la-size-sect at byte 0"][..]),
        (0, &[0; 8], &["was never attached", "let DRBD sync it"]),
        (60, &[0; 4], &["the superblock at byte 4190208 is destroyed", "restore-md"]),
        (60, &[0x83, 0x74, 0x02, 0x6a], &["v07 metadata", "create-md"]),
        (64, &[0x11; 4], &["bm_offset at byte 76", "damaged", "restore-md"]),
        (68, &[0x11; 4], &["al_offset at byte 68", "damaged", "restore-md"]),
        (76, &[0x11; 4], &["bm_offset at byte 76", "damaged", "restore-md"]),
        (80, &[0x11; 4], &["bm-byte-per-bit at byte 80", "is not 4096", "restore-md"]),
        (88, &[0x11; 8], &["al-stripes", "at byte 88", "restore-md"]),
        (0, &[0, 0, 0, 0, 0, 0x10, 0, 0], &["the replicated size is", "fit"]),
    ] {
        let scene = with_x(|image| patch(image, SUPERBLOCK + at, bytes));
        all_refuse(&scene, 4, &["side b"]);
        all_refuse(&scene, 4, says);
    }
}

#[test]
fn damaged_superblocks_of_drbd9() {
    let peer_1_index = 112 + 32 + 20;
    for (at, bytes, says) in [
        (88, &[0, 0, 0, 99][..], "max-peers at byte 88 is 99"),
        (92, &[0, 0, 0, 77], "node-id at byte 92 is 77"),
        (peer_1_index, &[0, 0, 0, 9], "bitmap-index at byte"),
        (112 + 5 * 32 + 20, &[0, 0, 0, 0], "both claim bitmap slot 0"),
    ] {
        let scene = Scene::empty();
        fs::write(scene.path("a.img"), image_of_drbd9(1)).unwrap();
        let mut image = image_of_drbd9(0);
        patch(&mut image, SUPERBLOCK + at, bytes);
        fs::write(scene.path("x.img"), image).unwrap();
        all_refuse(&scene, 4, &["side b", "byte 4190208", says, "restore-md"]);
    }
}

#[test]
fn one_image_twice() {
    let scene = Scene::split();
    let twice = ["a.img and x.img are the same thing", "one image of each node"];
    std::os::unix::fs::symlink("a.img", scene.path("x.img")).unwrap();
    all_refuse(&scene, 2, &twice);
    fs::remove_file(scene.path("x.img")).unwrap();
    fs::hard_link(scene.path("a.img"), scene.path("x.img")).unwrap();
    all_refuse(&scene, 2, &twice);
    fs::remove_file(scene.path("x.img")).unwrap();
    scene.copy("a.img", "x.img");
    all_refuse(&scene, 2, &["the same device UUID D0D0000000000001", "one image of each node"]);
    scene.refuses(&["status", "a.img", "a.img"], 2, &["a.img and a.img are the same thing"]);
}

#[test]
fn images_that_are_no_pair() {
    let scene = Scene::split();
    fs::write(scene.path("x.img"), image_of_drbd9(0)).unwrap();
    all_refuse(&scene, 4, &["a has v08 metadata and b v09", "bring both nodes to the same DRBD"]);
    let mut other = image_of_drbd9(0);
    patch(&mut other, SUPERBLOCK + 48, &[7; 8]);
    fs::write(scene.path("a.img"), other).unwrap();
    all_refuse(&scene, 2, &["both sides say they are node id 0", "one image of each node"]);

    let smaller = (SIZE - (1 << 20)) / 512;
    let scene = with_x(|image| patch(image, SUPERBLOCK, &smaller.to_be_bytes()));
    all_refuse(
        &scene,
        4,
        &[
            "peers of one volume agree on its size",
            "side b 3 MiB (3145728 bytes)",
            "right pair",
            "SPLIT BRAIN",
        ],
    );
}

#[test]
fn another_resource() {
    let scene = with_x(|image| patch(image, SUPERBLOCK + 8, b"quite another past, not this one"));
    let ran = scene.run(&["status", "a.img", "x.img"]);
    ran.says(1, &["UNRELATED", "nothing"]);
    for words in &COMMANDS[1..] {
        scene.refuses(words, 3, &["no generation in common", "will not heal"]);
    }
    let before = scene.files();
    for words in [
        &["plan", "a.img", "x.img", "--keep", "a", "--full"][..],
        &["resolve", "a.img", "x.img", "--keep", "a", "--full", "--yes"],
    ] {
        scene.run(words).says(3, &["Refused", "Nothing was changed", "unrelated"]);
    }
    assert!(scene.files() == before);
}

#[test]
fn inconsistent_sides() {
    let inconsistent = |image: &mut Vec<u8>| patch(image, SUPERBLOCK + 59, &[0x90]);
    let scene = with_x(inconsistent);
    scene.run(&["status", "a.img", "x.img"]).says(1, &["Inconsistent"]);
    scene.refuses(
        &["plan", "a.img", "x.img", "--keep", "b"],
        3,
        &["Refused", "b is Inconsistent and can never be kept"],
    );
    scene.refuses(
        &["resolve", "a.img", "x.img", "--keep", "b", "--yes"],
        3,
        &["Refused", "b is Inconsistent and can never be kept", "Nothing was changed"],
    );
    let mut both = fs::read(scene.path("a.img")).unwrap();
    inconsistent(&mut both);
    fs::write(scene.path("a.img"), both).unwrap();
    for keep in ["a", "b"] {
        scene.refuses(
            &["resolve", "a.img", "x.img", "--keep", keep, "--yes"],
            3,
            &["Refused", "both sides were in the middle of a resync", "Nothing was changed"],
        );
    }
}

#[test]
fn already_in_sync() {
    let scene = Scene::split();
    scene.heal();
    let before = scene.files();
    scene.run(&["status", "a.img", "b.img"]).says(0, &["IN SYNC"]);
    scene.run(&["diff", "a.img", "b.img", "--full"]).says(0, &["The contents are equal"]);
    scene.run(&["plan", "a.img", "b.img", "--keep", "b"]).says(0, &["Nothing to do"]);
    scene.run(&["resolve", "a.img", "b.img", "--keep", "b", "--yes"]).says(0, &["Nothing to do"]);
    assert!(scene.files() == before);
}

/// The activity log of a node that was Primary when the image was taken is needed; without it nothing is believed.
#[test]
fn a_destroyed_hot_activity_log() {
    let scene = Scene::empty();
    let [a, b] = Capture::Drbd84Attached.unpack(scene.folder.path());
    let size = fs::metadata(&b).unwrap().len();
    for block in 0..8 {
        let at = size / BLOCK * BLOCK - BLOCK - 32768 + block * BLOCK;
        scene.poke("node2.img", at + 8, b"\xde\xad\xbe\xef");
    }
    let before = fs::read(&b).unwrap();
    let ran = scene.run(&["status", "node1.img", "node2.img"]);
    ran.says(
        4,
        &[
            "side b",
            "node2.img: the node was Primary",
            "is unreadable",
            "copy this side again",
            "activity log is destroyed",
        ],
    );
    scene
        .run(&["resolve", "node1.img", "node2.img", "--keep", "b", "--yes"])
        .says(4, &["side b", "node2.img: the node was Primary"]);
    assert!(fs::read(&b).unwrap() == before && a.exists());
}

/// What stands inside the volume is only described, never needed: the healing works on bytes.
#[test]
fn a_damaged_volume_group() {
    let scene = Scene::empty();
    let [a, _] = Capture::Drbd84Down.unpack(scene.folder.path());
    let mut image = fs::read(&a).unwrap();
    // Every copy of the group's text, in the metadata area after the label.
    let mut spoilt = 0;
    for at in 4096..(1 << 20) {
        if image[at..].starts_with(b"seqno") {
            image[at] = b'S';
            spoilt += 1;
        }
    }
    assert!(spoilt > 0);
    fs::write(&a, image).unwrap();
    let ran = scene.run(&["diff", "node1.img", "node2.img"]);
    ran.says(1, &["note (a): ", "drbdvg/shared", "as b describes it"]);
    scene.run(&["resolve", "node1.img", "node2.img", "--keep", "a", "--yes"]).says(0, &["Healed"]);
    scene.run(&["undo"]).says(0, &["Undone"]);
}

#[test]
fn a_damaged_partition_table() {
    let scene = Scene::split();
    for name in ["a.img", "b.img"] {
        // A protective MBR and a GPT header whose checksum is wrong.
        let mut partition = [0; 16];
        partition[4] = 0xee;
        partition[8..12].copy_from_slice(&1u32.to_le_bytes());
        partition[12..].copy_from_slice(&u32::MAX.to_le_bytes());
        scene.poke(name, 446, &partition);
        scene.poke(name, 510, &[0x55, 0xaa]);
        scene.poke(name, 512, b"EFI PART\0\0\x01\0\x5c\0\0\0damaged!");
    }
    let ran = scene.run(&["diff", "a.img", "b.img"]);
    ran.says(1, &["note (a): ", "GPT", "12 KiB differ"]);
    scene.heal();
    scene.run(&["undo"]).says(0, &["Undone"]);
}

#[test]
fn hostile_names() {
    let scene = Scene::split();
    for (name, code, says) in [
        ("x\u{1b}[31m.img", 4, "control characters; give it another name"),
        ("x\nerror: all is lost", 4, "control characters; give it another name"),
    ] {
        scene.copy("b.img", name);
        let ran = scene.refuses(&["status", "a.img", name], code, &[says]);
        assert!(!ran.err.contains("\nerror:"), "{}", ran.err);
    }
    // What the text suggests can be typed as it stands.
    scene.copy("b.img", "it's $(b).img");
    let folder = scene.folder.path().display().to_string();
    scene
        .run(&["status", "a.img", "it's $(b).img"])
        .says(1, &[&format!(r"unsplit diff {folder}/a.img '{folder}/it'\''s $(b).img'")]);
    scene.copy("b.img", "-x");
    scene
        .run(&["status", "a.img", "--", "-x"])
        .says(1, &[&format!("unsplit diff {folder}/a.img {folder}/-x")]);
    for (option, value, says) in [
        ("--name-a", "x;rm -rf", "is not a name"),
        ("--name-a", "../x", "is not a name"),
        ("--name-a", "b", "both sides have the same name"),
        ("--name-b", "a", "both sides have the same name"),
        ("--name-a", "B", "cannot be called B, because `b` means the other side"),
        ("--name-b", "A", "only its case would tell them apart"),
        ("--resource", "-", "is not a name"),
        ("--meta-a", "", "a path is needed"),
        ("--meta-a", "b.img:99999999999", "is not an index"),
        ("--threads", "0", "0 is not in 1..=256"),
        ("--policy", "no.toml", "policy no.toml cannot be read"),
        ("--role-a", "King", "primary"),
    ] {
        scene.refuses(&["status", "a.img", "b.img", &format!("{option}={value}")], 2, &[says]);
    }
    scene.refuses(&["policy", "check", "gone.toml"], 2, &["cannot read gone.toml"]);
    scene.refuses(&["policy", "explain", "gone.toml"], 2, &["cannot read gone.toml"]);
    scene.refuses(
        &["plan", "a.img", "b.img", "--keep", "\u{1b}c"],
        2,
        &["there is no such side; say a or b"],
    );
    scene.refuses(
        &["plan", "a.img", "b.img", "--keep", "c", "--name-a", "alpha", "--name-b", "beta"],
        2,
        &["say a, b, alpha or beta"],
    );
    scene.refuses(&["status", "", "b.img"], 2, &["a value is required"]);
    scene.refuses(
        &["plan", "a.img", "b.img", "--keep", "a", "--no-salvage"],
        2,
        &["salvage = \"off\"", "gone for good"],
    );
    scene.refuses(&["resolve"], 2, &["two sides, --plan ID, or --resume"]);
    for words in [
        &["undo", "../../x"][..],
        &["history", "../x"],
        &["salvage", "show", "../.."],
        &["resolve", "--resume", "../x"],
    ] {
        let ran = scene.run(words);
        assert!([2, 4].contains(&ran.code), "{words:?}: {}", ran.all());
    }
}

/// As `dd` or a full disk leave one: what stands behind the last whole sector is nobody's.
#[test]
fn an_image_that_ends_in_the_middle_of_a_sector() {
    for name in ["a.img", "b.img"] {
        let scene = Scene::split();
        let file = File::options().write(true).open(scene.path(name)).unwrap();
        file.set_len(SIZE + 1).unwrap();
        drop(file);
        let before = fs::read(scene.path("b.img")).unwrap();
        scene.heal();
        scene.run(&["undo"]).says(0, &["Undone"]);
        assert!(fs::read(scene.path("b.img")).unwrap() == before, "{name}");
    }
}
