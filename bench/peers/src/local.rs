//! Two files or devices on one machine, warm and cold.

use crate::ceilings::{self, Files, KERNELS};
use crate::cold::{evict, load};
use crate::quantity::MIB;
use crate::rounds::{Limits, Row, Section, measure};
use crate::runner::Job;
use crate::subject::{Expected, Peer, ceiling, find, unsplit};
use std::cell::Cell;
use std::path::Path;

/// Two files or devices and what is known of them.
pub(crate) struct Sides<'a> {
    pub(crate) a: &'a Path,
    pub(crate) b: &'a Path,
    pub(crate) size: u64,
    pub(crate) expected: &'a Expected,
    /// Makes the second one differ again; none when nothing may be written.
    pub(crate) restore: Option<&'a dyn Fn() -> anyhow::Result<()>>,
}

impl Sides<'_> {
    fn words(&self) -> Vec<String> {
        vec!["compare".to_owned(), self.a.display().to_string(), self.b.display().to_string()]
    }
}

/// The machine by itself.
pub(crate) fn kernels(limits: Limits) -> anyhow::Result<Section> {
    let program = std::env::current_exe()?.display().to_string();
    let rows: Vec<Row<'_>> = KERNELS
        .iter()
        .map(|(key, words)| Row {
            name: (*words).to_owned(),
            tells: "",
            reference: false,
            rounds: u32::MAX,
            volume: 512 * MIB,
            job: Job {
                commands: vec![vec![program.clone(), ceilings::COMMAND.to_owned(), (*key).to_owned()]],
                count_only: false,
            },
            own_clock: true,
            check: Box::new(|used| match used.ends.first() {
                Some(end) if end.code == Some(0) => Ok(String::new()),
                _ => anyhow::bail!("failed:"),
            }),
            wire: None,
            restore: None,
        })
        .collect();
    let mut section = measure("Ceilings: memory and processor", &rows, limits, &|| Ok(()))?;
    section.notes.push("Over 512 MiB in memory, beyond any cache; time of the loop alone.".to_owned());
    Ok(section)
}

/// The ceilings, unsplit, and every peer that is there and can do it.
fn rows<'a>(sides: &Sides<'a>, cold: bool) -> anyhow::Result<Vec<Row<'a>>> {
    let Sides { a, b, size, expected, restore } = *sides;
    let mut rows = vec![Row {
        reference: true,
        ..unsplit("unsplit compare", sides.words(), size, expected, "/differs")
    }];
    let files: &[Files] = if cold {
        &[Files::Direct(MIB), Files::Direct(4 * MIB), Files::DirectCompare, Files::Mapped]
    } else {
        &[Files::Mapped, Files::Pread]
    };
    for files in files {
        rows.push(ceiling(*files, a, b, size, expected)?);
    }
    for peer in Peer::ALL.into_iter().filter(|peer| find(peer.program()).is_some()) {
        if peer.repairs() && restore.is_none() {
            continue;
        }
        let restore = restore.filter(|_| peer.repairs());
        let restore = restore.map(|restore| Box::new(restore) as Box<dyn Fn() -> anyhow::Result<()>>);
        rows.push(Row { restore, ..peer.row(a, b, size, expected, cold) });
    }
    Ok(rows)
}

/// Everything in the page cache.
pub(crate) fn warm(title: &str, sides: &Sides<'_>, limits: Limits) -> anyhow::Result<Section> {
    let least = Cell::new(2 * sides.size);
    let before = || {
        let there = load(sides.a, sides.size)? + load(sides.b, sides.size)?;
        least.set(least.get().min(there));
        Ok(())
    };
    let mut section = measure(title, &rows(sides, false)?, limits, &before)?;
    section.notes.push(format!(
        "Before each run {} of both files was in the page cache (mincore).",
        share(least.get(), sides.size)
    ));
    Ok(section)
}

/// Nothing in the page cache.
pub(crate) fn cold(title: &str, sides: &Sides<'_>, limits: Limits) -> anyhow::Result<Section> {
    let most = Cell::new(0);
    let before = || {
        let left = evict(sides.a, sides.size)? + evict(sides.b, sides.size)?;
        most.set(most.get().max(left));
        Ok(())
    };
    let mut section = measure(title, &rows(sides, true)?, limits, &before)?;
    section.notes.push(format!(
        "Before each run both were put out of the page cache (posix_fadvise); {} was left (mincore). A cache below this \
         system (a hypervisor's, a RAID controller's) is not emptied.",
        share(most.get(), sides.size)
    ));
    Ok(section)
}

#[allow(clippy::cast_precision_loss)]
fn share(bytes: u64, size: u64) -> String {
    format!("{:.1} %", 100.0 * bytes as f64 / (2 * size) as f64)
}
