//! What is said is true: "equal" only of what was compared, "older" never of the same generation, losses by the names that
//! the side which loses them uses; and each command that is proposed can be typed, and goes on with what was given.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../scene/mod.rs"]
mod scene;

mod generations;
mod losses;

use clap::Parser as _;
use scene::image::{GOOD, Metadata};
use scene::{BLOCK, Ran, SIZE, Scene};
use std::fs;
use unsplit::cli::Cli;
use unsplit::model::drbd::{MetadataFormat, device_flag};

const CURRENT: u64 = 0xAAAA_1111_2222_3332;
const BASE: u64 = 0x5555_6666_7777_8888;
const OUTDATED: u32 = device_flag::CONSISTENT | device_flag::AL_CLEAN;

/// One node's metadata and what its image holds.
struct Side {
    current: u64,
    bitmap: u64,
    flags: u32,
    /// Marked blocks.
    marks: &'static [u64],
    /// Blocks, and the byte that fills them.
    writes: &'static [(u64, u8)],
}

const QUIET: Side = Side { current: CURRENT, bitmap: 0, flags: GOOD, marks: &[], writes: &[] };

fn bytes_at(at: u64) -> usize {
    usize::try_from(at).unwrap()
}

/// An image of the node, with internal metadata.
fn image(format: MetadataFormat, node: u8, side: &Side) -> Vec<u8> {
    let mut image = vec![0; bytes_at(SIZE)];
    for (block, byte) in [(1, 0x11), (300, 0x22)].iter().chain(side.writes) {
        let at = bytes_at(block * BLOCK);
        image[at..at + bytes_at(BLOCK)].fill(*byte);
    }
    let metadata = Metadata::internal(format, SIZE).of_node(node, 1 - node);
    let mut metadata = metadata.generations(side.current, side.bitmap, [0x1111_2222_3333_4444]);
    metadata.told.flags = side.flags;
    side.marks.iter().for_each(|block| metadata.mark(0, *block));
    metadata.put_into(&mut image);
    image
}

fn scene(format: MetadataFormat, a: &Side, b: &Side) -> Scene {
    let scene = Scene::empty();
    fs::write(scene.path("a.img"), image(format, 0, a)).unwrap();
    fs::write(scene.path("b.img"), image(format, 1, b)).unwrap();
    scene
}

/// A page whose lines are broken at its width, as one line.
fn unbroken(ran: &Ran) -> Ran {
    let out = ran.out.split_whitespace().collect::<Vec<_>>().join(" ");
    Ran { code: ran.code, out, err: ran.err.clone() }
}

/// The commands that a screen proposes: each can be typed as it stands, from any folder, about the same state directory.
#[track_caller]
fn proposed(scene: &Scene, ran: &Ran) -> Vec<String> {
    let commands: Vec<String> = ran
        .out
        .lines()
        .filter_map(|line| line.strip_prefix("  unsplit "))
        // Words of explanation stand behind a gap.
        .map(|line| format!("unsplit {}", line.split("     ").next().unwrap().trim_end()))
        .collect();
    for command in &commands {
        let words = shlex::split(command).unwrap();
        let cli = Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{command}\n{error}"));
        assert_eq!(cli.state_dir, scene.state(), "{command}");
        let relative = |word: &&String| word.ends_with(".img") && !word.starts_with('/');
        assert_eq!(words.iter().find(relative), None, "{command}");
    }
    commands
}
