//! Interleaved rounds: each runs every row once, in rotated order, so that a slow minute of the machine hits all alike.

use crate::counter::Counted;
use crate::runner::{self, Job, Used};
use serde::Serialize;
use std::time::{Duration, Instant};

/// Looks at what a run left: what it found, in words.
pub(crate) type Check<'a> = Box<dyn Fn(&Used) -> anyhow::Result<String> + 'a>;

/// Something to run and to check.
pub(crate) struct Row<'a> {
    pub(crate) name: String,
    /// What its result can tell.
    pub(crate) tells: &'static str,
    /// The row that the others are compared with.
    pub(crate) reference: bool,
    /// At most so many rounds.
    pub(crate) rounds: u32,
    /// Bytes of one side, for the throughput.
    pub(crate) volume: u64,
    pub(crate) job: Job,
    /// Whether the first number it prints is its time in seconds; otherwise the whole run counts.
    pub(crate) own_clock: bool,
    /// What it found, in words; an error is what is wrong with that.
    pub(crate) check: Check<'a>,
    /// What went over the link.
    pub(crate) wire: Option<Box<dyn Fn() -> anyhow::Result<Counted> + 'a>>,
    /// Puts the data back as it was.
    pub(crate) restore: Option<Box<dyn Fn() -> anyhow::Result<()> + 'a>>,
}

/// One run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sample {
    pub(crate) round: u32,
    pub(crate) seconds: f64,
    pub(crate) cpu: f64,
    pub(crate) peak: u64,
    pub(crate) own: u64,
    pub(crate) wire: Option<Counted>,
}

/// All runs of one row.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) tells: &'static str,
    pub(crate) reference: bool,
    pub(crate) volume: u64,
    pub(crate) samples: Vec<Sample>,
    pub(crate) found: Option<String>,
    /// Why it could not run, or what was wrong with its result.
    pub(crate) fault: Option<String>,
    /// Whether it ran and did not find what is there.
    pub(crate) wrong: bool,
}

/// The lines of one table.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) notes: Vec<String>,
    pub(crate) lines: Vec<Line>,
}

impl Section {
    pub(crate) fn only_notes(title: impl Into<String>, note: impl Into<String>) -> Section {
        Section { title: title.into(), notes: vec![note.into()], lines: Vec::new() }
    }
}

/// How many rounds, and for how long at most. The first round is always whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) rounds: u32,
    pub(crate) time: Duration,
}

/// Runs the rows. `before` is called before each run.
#[allow(clippy::print_stderr)]
pub(crate) fn measure(
    title: &str,
    rows: &[Row<'_>],
    limits: Limits,
    before: &dyn Fn() -> anyhow::Result<()>,
) -> anyhow::Result<Section> {
    eprintln!("  {title}");
    let mut lines: Vec<Line> = rows
        .iter()
        .map(|row| Line {
            name: row.name.clone(),
            tells: row.tells,
            reference: row.reference,
            volume: row.volume,
            samples: Vec::new(),
            found: None,
            fault: None,
            wrong: false,
        })
        .collect();
    let begin = Instant::now();
    for round in 0..limits.rounds {
        if round > 0 && begin.elapsed() > limits.time {
            break;
        }
        for step in 0..rows.len() {
            let at = (step + round as usize) % rows.len();
            let (row, line) = (&rows[at], &mut lines[at]);
            if round >= row.rounds || line.fault.is_some() {
                continue;
            }
            before()?;
            once(row, line, round);
            if let Some(fault) = &line.fault {
                eprintln!("    {}: {fault}", line.name);
            }
            if let Some(restore) = &row.restore {
                restore()?;
            }
        }
    }
    Ok(Section { title: title.to_owned(), notes: Vec::new(), lines })
}

fn once(row: &Row<'_>, line: &mut Line, round: u32) {
    let used = match runner::run(&row.job) {
        Ok(used) => used,
        Err(error) => {
            line.fault = Some(format!("{error:#}"));
            return;
        }
    };
    let checked = (row.check)(&used);
    let wire = row.wire.as_ref().map(|wire| wire()).transpose();
    match (checked, wire) {
        (Ok(found), Ok(wire)) => {
            let clock = used.ends.first().and_then(|end| end.out.split_whitespace().next()?.parse().ok());
            let seconds = if row.own_clock { clock.unwrap_or(used.seconds) } else { used.seconds };
            line.found = Some(found);
            line.samples.push(Sample { round, seconds, cpu: used.cpu, peak: used.peak, own: used.own, wire });
        }
        (Err(error), _) | (_, Err(error)) => {
            // What a tool itself calls a failure is not a wrong answer.
            line.wrong = error.is::<Wrong>();
            let said = used.ends.iter().find_map(|end| end.err.lines().next_back()).unwrap_or_default();
            line.fault = Some(format!("{error:#} {said}").trim().to_owned());
        }
    }
}

/// A tool ran and its answer is not the truth.
#[derive(Debug, thiserror::Error)]
#[error("WRONG: {0}")]
pub(crate) struct Wrong(pub(crate) String);
