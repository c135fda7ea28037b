//! A volume much larger than what changed in it: only what a list or DRBD's bitmaps mark is compared.

use crate::ceilings::Files;
use crate::cold::evict;
use crate::data::{BLOCK, Differences, FilePair, Kind, fill, pick};
use crate::image::Metadata;
use crate::quantity::MIB;
use crate::rounds::{Limits, Row, Section, measure};
use crate::subject::{Expected, ceiling_within, compare_has, unsplit};
use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use unsplit::model::drbd::MetadataFormat;
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::model::size::human;

/// Two sparse images with data only where something is marked.
struct Marked {
    a: PathBuf,
    b: PathBuf,
    list: PathBuf,
    run: u64,
    expected: Expected,
}

/// Metadata of node 0 or 1 on an image of that size. Generations as DRBD leaves them when both nodes went on from the same one
/// and were stopped in order.
fn went_on_alone(volume: u64, number: u8) -> Metadata {
    let metadata = Metadata::internal(MetadataFormat::V09, volume).of_node(number, 1 - number);
    metadata.generations(0x5EED_0000_0000_1000 << (4 * number), 0x5EED_0000_0000_0010, [])
}

impl Marked {
    /// `total` bytes in runs of `run` bytes, scattered over `volume` bytes; in every 100th run all blocks differ.
    fn make(folder: &Path, volume: u64, total: u64, run: u64) -> anyhow::Result<Marked> {
        let apart = [0, 1].map(|number| went_on_alone(volume, number));
        let blocks = apart[0].size() / BLOCK;
        let starts = pick(blocks, run / BLOCK, total / run, run);
        let name = |side: &str| folder.join(format!("marked-{}-{side}", run / 1024));
        let marked = Marked {
            a: name("a.img"),
            b: name("b.img"),
            list: name("list"),
            run,
            expected: Expected::default(),
        };
        let files = [File::create_new(&marked.a)?, File::create_new(&marked.b)?];
        for file in &files {
            file.set_len(volume)?;
        }
        let mut bytes = vec![0; usize::try_from(run)?];
        let (mut list, mut differs, mut marks) = (String::new(), Vec::new(), [Vec::new(), Vec::new()]);
        for (at, start) in starts.iter().enumerate() {
            let extent = Extent { start: start * BLOCK, len: run };
            fill(11, *start, &mut bytes);
            files[0].write_all_at(&bytes, extent.start)?;
            if at % 100 == 0 {
                fill(12, *start, &mut bytes);
                differs.push(extent);
            }
            files[1].write_all_at(&bytes, extent.start)?;
            writeln!(list, "{} {}", extent.start, extent.len)?;
            marks[at % 2].push(extent);
        }
        std::fs::write(&marked.list, list)?;
        for ((file, mut metadata), marks) in files.iter().zip(apart).zip(marks) {
            metadata.mark_all(0, &marks.into_iter().collect());
            metadata.put_on(file);
        }
        for file in files {
            file.sync_all()?;
        }
        let differs: ExtentSet = differs.into_iter().collect();
        let expected = Expected { blocks: differs.bytes() / BLOCK, extents: Some(differs), bytes: None };
        Ok(Marked { expected, ..marked })
    }

    fn words(&self, command: &str) -> Vec<String> {
        [command, &self.a.display().to_string(), &self.b.display().to_string()]
            .map(ToOwned::to_owned)
            .to_vec()
    }
}

/// What reading the same runs costs, and nothing else.
fn ceilings(files: Files, both: [&Marked; 2], total: u64) -> anyhow::Result<Vec<Row<'_>>> {
    let mut rows = Vec::new();
    for marked in both {
        let mut row = ceiling_within(files, [&marked.a, &marked.b], &marked.list, total, &marked.expected)?;
        row.name = format!("{}, runs of {}", row.name, human(marked.run));
        rows.push(row);
    }
    Ok(rows)
}

/// Bytes on disk that [`measure_candidates`] needs.
pub(crate) fn needs(total: u64) -> u64 {
    6 * total + 256 * MIB
}

/// `total` bytes marked in a sparse volume, against two dense files of `total` bytes.
pub(crate) fn measure_candidates(
    folder: &Path,
    volume: u64,
    total: u64,
    cold: bool,
    limits: Limits,
) -> anyhow::Result<Vec<Section>> {
    let mut dense = FilePair::make(folder, Kind::Random, total)?;
    dense.differ(Differences::Clustered)?;
    let wide = Marked::make(folder, volume, total, 64 << 10)?;
    let narrow = Marked::make(folder, volume, total, BLOCK)?;
    let dense_expected = dense.expected();
    let words = ["compare", &dense.a.display().to_string(), &dense.b.display().to_string()];
    let mut rows = vec![Row {
        reference: true,
        ..unsplit(
            &format!("unsplit compare, two dense files of {}", human(total)),
            words.map(ToOwned::to_owned).to_vec(),
            total,
            &dense_expected,
            "/differs",
        )
    }];
    for marked in [&wide, &narrow] {
        let shape = format!("runs of {}", human(marked.run));
        if compare_has("--within") {
            let words = [marked.words("compare"), vec!["--within".into(), marked.list.display().to_string()]]
                .concat();
            let name = format!("unsplit compare --within, {shape}");
            rows.push(unsplit(&name, words, total, &marked.expected, "/differs"));
        }
        let name = format!("unsplit diff, DRBD's bitmaps, {shape}");
        rows.push(unsplit(&name, marked.words("diff"), total, &marked.expected, "/volumes/0/delta/differs"));
    }
    let title =
        |state: &str| format!("Candidates: {} marked in volumes of {}, {state}", human(total), human(volume));
    let mut warm = rows;
    warm.extend(ceilings(Files::ListPread, [&wide, &narrow], total)?);
    let mut sections = vec![measure(&title("warm"), &warm, limits, &|| Ok(()))?];
    if cold {
        let before = || {
            evict(&dense.a, total)?;
            evict(&dense.b, total)?;
            for marked in [&wide, &narrow] {
                for path in [&marked.a, &marked.b] {
                    let file = File::open(path)?;
                    file.sync_all()?;
                    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
                }
            }
            Ok(())
        };
        warm.truncate(warm.len() - 2);
        let mut rows = warm;
        rows.extend(ceilings(Files::ListDirect, [&wide, &narrow], total)?);
        let mut section = measure(&title("cold"), &rows, limits, &before)?;
        section.notes.push(
            "Before each run all files were put out of the page cache (posix_fadvise; on tmpfs that does nothing). Whether \
             it worked was not looked at, which takes long on volumes of this size."
                .to_owned(),
        );
        sections.push(section);
    }
    for section in &mut sections {
        section.notes.push(
            "The two volumes are sparse files with DRBD 9's metadata; data is where something is marked, half of the marks are on \
             each side, and all blocks of every 100th run differ."
                .to_owned(),
        );
    }
    dense.remove()?;
    for marked in [&wide, &narrow] {
        for path in [&marked.a, &marked.b, &marked.list] {
            std::fs::remove_file(path)?;
        }
    }
    Ok(sections)
}
