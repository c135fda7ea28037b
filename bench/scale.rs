//! Makes a large split brain of sparse images and says what `unsplit` takes for it: time and peak memory.
//!
//!     cargo bench --bench scale -- SIZE_GIB MARKED_MIB scattered|clustered [FOLDER [COMMAND...]]
//!
//! The images stand in FOLDER (default: a temporary one) and take MARKED_MIB each, and what the bitmaps take. With another
//! COMMAND in the binary's place two builds can be compared.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/image/mod.rs"]
mod image;

use image::Metadata;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use unsplit::model::drbd::MetadataFormat;

const BLOCK: u64 = 4096;

/// The blocks that a side wrote: the same ones for a third of them, its own for the rest.
fn blocks(size: u64, marked: u64, clustered: bool, side: u64) -> impl Iterator<Item = u64> {
    let (all, count) = (size / BLOCK * 9 / 10, marked / BLOCK);
    // Clusters are 1 MiB.
    let each = if clustered { 256 } else { 1 };
    let places = (count / each).max(1);
    let stride = all / places;
    (0..places).flat_map(move |place| {
        let own = if place % 3 == 0 { 0 } else { side * stride / 2 };
        let jitter = place.wrapping_mul(0x9E37_79B9_7F4A_7C15) % (stride / 2 - each).max(1);
        let first = place * stride + own + jitter;
        first..first + each
    })
}

fn image(path: &Path, size: u64, marked: u64, clustered: bool, side: u8) {
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    let own = 0xA1B2_C3D4_E5F6_0710 + u64::from(side) * 0x1000;
    let metadata = Metadata::internal(MetadataFormat::V08, size).of_node(side, 1 - side);
    let mut metadata = metadata.generations(own, 0x1122_3344_5566_7788, []);
    let mut content = vec![side + 1; 4096];
    for block in blocks(size, marked, clustered, side.into()) {
        content[..8].copy_from_slice(&block.to_le_bytes());
        file.write_all_at(&content, block * BLOCK).unwrap();
        metadata.mark(0, block);
    }
    metadata.put_on(&file);
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let number = |at: usize, default: u64| words.get(at).map_or(default, |word| word.parse().unwrap());
    // ext4 holds files of 16 TiB less one block.
    let size = (number(0, 64) << 30).min((16 << 40) - BLOCK);
    let (marked, clustered) = (number(1, 64) << 20, words.get(2).is_some_and(|word| word == "clustered"));
    let temporary = tempfile::tempdir().unwrap();
    let folder = words.get(3).map_or(temporary.path().to_owned(), PathBuf::from);
    let [a, b] = ["a.img", "b.img"].map(|name| folder.join(name));
    if !a.exists() {
        image(&a, size, marked, clustered, 0);
        image(&b, size, marked, clustered, 1);
    }
    let own = vec![env!("CARGO_BIN_EXE_unsplit").to_owned()];
    let command = words.get(4..).filter(|rest| !rest.is_empty()).unwrap_or(&own);
    for verb in [&["status"][..], &["diff"], &["--json", "diff"], &["plan", "--keep", "a"]] {
        let state = tempfile::tempdir().unwrap();
        let done = Command::new("/usr/bin/time")
            .args(["-f", "%e s, %U s user, %S s system, %M KiB"])
            .args(command)
            .arg("--state-dir")
            .arg(state.path())
            .args(verb)
            .args([&a, &b])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        println!("{}: {} ({} bytes of output)", verb.join(" "), said.trim(), done.stdout.len());
    }
}
