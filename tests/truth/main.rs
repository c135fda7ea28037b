//! What is said is true: "equal" only of what was compared, "older" never of the same generation, losses by the names that
//! the side which loses them uses; and each command that is proposed can be typed, and goes on with what was given.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../scene/mod.rs"]
mod scene;

mod generations;
mod losses;

use clap::Parser as _;
use scene::{BLOCK, Ran, SIZE, Scene};
use std::fs;
use unsplit::cli::Cli;
use unsplit::format::drbdmeta::create::{Wanted, create};
use unsplit::model::drbd::{GenerationUuid, MetadataFormat, device_flag};

const CURRENT: u64 = 0xAAAA_1111_2222_3332;
const BASE: u64 = 0x5555_6666_7777_8888;
const GOOD: u32 = device_flag::CONSISTENT | device_flag::WAS_UP_TO_DATE | device_flag::AL_CLEAN;
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
    let mut fresh = create(&Wanted::internal(format, SIZE), false).unwrap();
    let superblock = &mut fresh.superblock;
    superblock.effective_size = fresh.geometry.data_capacity / 512;
    superblock.current = GenerationUuid(side.current);
    superblock.device_uuid = 0xD0D0_0000_0000_0001 + u64::from(node);
    superblock.flags = side.flags;
    superblock.history[0] = GenerationUuid(0x1111_2222_3333_4444);
    match format {
        MetadataFormat::V08 => superblock.bitmap = GenerationUuid(side.bitmap),
        MetadataFormat::V09 => {
            superblock.node_id = i32::from(node);
            let peer = &mut superblock.peers[usize::from(1 - node)];
            (peer.bitmap_uuid, peer.bitmap_index) = (GenerationUuid(side.bitmap), 0);
        }
    }
    let mut image = vec![0; bytes_at(SIZE)];
    for (block, byte) in [(1, 0x11), (300, 0x22)].iter().chain(side.writes) {
        let at = bytes_at(block * BLOCK);
        image[at..at + bytes_at(BLOCK)].fill(*byte);
    }
    let mut bitmap = vec![0; bytes_at(fresh.geometry.bitmap.len)];
    for block in side.marks {
        bitmap[bytes_at(block / 8)] |= 1 << (block % 8);
    }
    let mut put =
        |at: u64, bytes: &[u8]| image[bytes_at(at)..bytes_at(at) + bytes.len()].copy_from_slice(bytes);
    put(fresh.geometry.bitmap.start, &bitmap);
    put(fresh.geometry.log.start, &fresh.log_bytes());
    put(fresh.geometry.superblock_at, &fresh.superblock_bytes());
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
