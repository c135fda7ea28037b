//! Volumes of real size: sparse ones of 1 TiB, one larger than memory, and devices.

use crate::candidates::{measure_candidates, needs};
use crate::ceilings::Files;
use crate::counter::Counter;
use crate::data::{BLOCK, Differences, FilePair, Kind, fill, pick};
use crate::local::{self, Sides};
use crate::machine::memory;
use crate::quantity::GIB;
use crate::rounds::{Limits, Section};
use crate::subject::{Expected, ceiling};
use crate::wire::{Link, measure_link};
use crate::{free, runner};
use anyhow::Context as _;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use unsplit::model::extent::Extent;
use unsplit::model::size::human;

/// Size of the sparse volumes.
const VOLUME: u64 = 1 << 40;
/// Blocks that differ in the one compared across a link.
const SCATTERED: u64 = 1000;

/// `--large`.
pub(crate) fn sections(folder: &Path, counter: &Counter, limits: Limits) -> anyhow::Result<Vec<Section>> {
    let mut sections = Vec::new();
    if free(folder)? < needs(GIB) {
        let note =
            format!("Not measured: needs {} on disk, {} are free.", human(needs(GIB)), human(free(folder)?));
        sections.push(Section::only_notes("Candidates in volumes of 1 TiB", note));
    } else {
        sections.extend(measure_candidates(folder, VOLUME, GIB, true, limits)?);
    }
    sections.push(across(folder, counter, limits)?);
    sections.push(beyond_memory(folder, limits)?);
    Ok(sections)
}

/// Two sparse volumes, single blocks differ, across a link.
fn across(folder: &Path, counter: &Counter, limits: Limits) -> anyhow::Result<Section> {
    let [a, b] = ["a", "b"].map(|side| folder.join(format!("terabyte-{side}.img")));
    let files = [File::create_new(&a)?, File::create_new(&b)?];
    let blocks = pick(VOLUME / BLOCK, 1, SCATTERED, 13);
    let mut bytes = [0; BLOCK as usize];
    for (seed, file) in (1..).zip(&files) {
        file.set_len(VOLUME)?;
        for block in &blocks {
            fill(seed, *block, &mut bytes);
            file.write_all_at(&bytes, block * BLOCK)?;
        }
        file.sync_all()?;
    }
    let extents = blocks.iter().map(|block| Extent { start: block * BLOCK, len: BLOCK }).collect();
    let expected = Expected { blocks: SCATTERED, extents: Some(extents), bytes: None };
    let restore = || Ok(());
    let link =
        Link { a: &a, b: &b, size: VOLUME, expected: &expected, counter, restore: &restore, peers: false };
    let mut section = measure_link(
        "Across a link: sparse volumes of 1 TiB, 1,000 scattered blocks of 4 KiB differ",
        &link,
        limits,
    )?;
    section.notes.push("The peers read holes like data and would take many minutes: not run.".to_owned());
    std::fs::remove_file(&a)?;
    std::fs::remove_file(&b)?;
    Ok(section)
}

/// Each file one and a half times the memory.
fn beyond_memory(folder: &Path, limits: Limits) -> anyhow::Result<Section> {
    let size = (memory("MemTotal") * 3 / 2).next_multiple_of(GIB);
    let title = format!("Larger than memory: two files of {}", human(size));
    let free = free(folder)?;
    if free < 2 * size + GIB {
        let note = format!(
            "Not measured: needs {} on disk, {} are free (give a larger disk by --dir, or less memory by a control group: see \
             bench/README.md).",
            human(2 * size),
            human(free)
        );
        return Ok(Section::only_notes(title, note));
    }
    let mut pair = FilePair::make(folder, Kind::Random, size)?;
    pair.differ(Differences::Scattered)?;
    let expected = pair.expected();
    let restore = || pair.restore();
    let sides = Sides { a: &pair.a, b: &pair.b, size, expected: &expected, restore: Some(&restore) };
    let section = local::cold(&title, &sides, Limits { rounds: 1, ..limits })?;
    pair.remove()?;
    Ok(section)
}

/// Two devices or files of somebody else, which are only read.
pub(crate) fn devices(a: &Path, b: &Path, limits: Limits) -> anyhow::Result<Vec<Section>> {
    let size = |path: &Path| -> anyhow::Result<u64> {
        use std::io::{Seek as _, SeekFrom};
        let mut file = File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
        Ok(file.seek(SeekFrom::End(0))?)
    };
    let (bytes, other) = (size(a)?, size(b)?);
    anyhow::ensure!(bytes == other && bytes > 0, "{} and {} are not of one size", a.display(), b.display());
    // Nobody knows what they hold: the plainest comparison says what the others must find.
    let row = ceiling(Files::DirectCompare, a, b, bytes, &Expected::default())?.job;
    let used = runner::run(&row)?;
    let first = used.ends.first().context("nothing ran")?;
    anyhow::ensure!(first.code == Some(0), "the devices cannot be compared: {}", first.err.trim());
    let expected = Expected { blocks: first.out.trim().parse()?, extents: None, bytes: None };
    let sides = Sides { a, b, size: bytes, expected: &expected, restore: None };
    let title =
        |state: &str| format!("Devices: {} and {}, {}, {state}", a.display(), b.display(), human(bytes));
    let mut sections = vec![local::cold(&title("cold"), &sides, limits)?];
    if 2 * bytes < memory("MemAvailable") {
        sections.push(local::warm(&title("warm (the devices' pages in the page cache)"), &sides, limits)?);
    }
    Ok(sections)
}
