//! Tables in Markdown, for people, and every measurement in JSON.

use crate::machine::Machine;
use crate::quantity::{GIB, digits, median};
use crate::rounds::{Line, Sample, Section};
use anyhow::Context as _;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;
use unsplit::model::size::human;

/// Between these two lines of a document the table is kept.
pub(crate) const BEGIN: &str = "<!-- bench/run writes from here -->";
pub(crate) const END: &str = "<!-- to here -->";

/// A whole run.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) machine: Machine,
    pub(crate) command: String,
    pub(crate) seconds: f64,
    /// Load average of a minute before the first and after the last measurement.
    pub(crate) load: [f64; 2],
    pub(crate) size: u64,
    pub(crate) sections: Vec<Section>,
}

impl Run {
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).unwrap_or_default();
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "Command: `{}`, took {:.0} s.", self.command, self.seconds)?;
        writeln!(text, "{}", self.machine.words())?;
        let [before, after] = self.load;
        let cores = self.machine.cores as f64;
        writeln!(
            text,
            "Files of {}. Load average before the first run {before:.2}, after the last {after:.2}{}\n",
            human(self.size),
            if before > 0.25 * cores { ": **others used this machine; take only the ratios**." } else { "." }
        )?;
        let there: Vec<String> = self
            .machine
            .peers
            .iter()
            .filter_map(|(name, found)| found.as_ref().ok().map(|version| format!("{name} ({version})")))
            .collect();
        writeln!(text, "Peers: {}.", there.join("; "))?;
        for (name, found) in &self.machine.peers {
            if let Err(install) = found {
                writeln!(text, "**{name} is not here** ({install}).")?;
            }
        }
        for section in &self.sections {
            self.section(text, section)?;
        }
        Ok(())
    }

    fn section(&self, text: &mut String, section: &Section) -> std::fmt::Result {
        writeln!(text, "\n### {}\n", section.title)?;
        for note in &section.notes {
            writeln!(text, "{note}\n")?;
        }
        if section.lines.is_empty() {
            return Ok(());
        }
        let reference = section.lines.iter().find(|line| line.reference);
        let wire = section.lines.iter().any(|line| line.samples.iter().any(|sample| sample.wire.is_some()));
        let mut head = vec!["", "tells", "found", "n", "seconds: median (min to max)", "GiB/s", "÷ unsplit"];
        if wire {
            head.extend(["bytes sent", "received", "÷ unsplit's bytes"]);
        }
        head.extend(["CPU s", "peak RSS", "own memory"]);
        if reference.is_none() && !wire {
            head.retain(|word| ["", "n", "seconds: median (min to max)", "GiB/s"].contains(word));
        }
        writeln!(text, "| {} |\n|{}", head.join(" | "), "---|".repeat(head.len()))?;
        for line in &section.lines {
            let cells: Vec<String> =
                head.iter().enumerate().map(|(at, word)| cell(at, word, line, reference)).collect();
            writeln!(text, "| {} |", cells.join(" | "))?;
        }
        Ok(())
    }
}

fn of(line: &Line, value: impl Fn(&Sample) -> f64) -> Option<f64> {
    median(&line.samples.iter().map(value).collect::<Vec<_>>())
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn cell(at: usize, word: &str, line: &Line, reference: Option<&Line>) -> String {
    let seconds: Vec<f64> = line.samples.iter().map(|sample| sample.seconds).collect();
    let whole = |value: Option<f64>| value.map(|value| value as u64);
    let most = |value: fn(&Sample) -> u64| line.samples.iter().map(value).max().map(human);
    let wire = |value: fn(crate::counter::Counted) -> u64| {
        of(line, |sample| sample.wire.map_or(f64::NAN, |wire| value(wire) as f64))
            .filter(|value| !value.is_nan())
    };
    let text = match word {
        "" if at == 0 => Some(line.name.clone()),
        "tells" => Some(line.tells.to_owned()),
        "found" => line.fault.clone().or_else(|| line.found.clone()),
        "n" => Some(line.samples.len().to_string()),
        "seconds: median (min to max)" => median(&seconds).map(|middle| {
            let least = seconds.iter().copied().fold(f64::INFINITY, f64::min);
            let most = seconds.iter().copied().fold(0.0, f64::max);
            format!("{} ({} to {})", digits(middle), digits(least), digits(most))
        }),
        "GiB/s" => median(&seconds).map(|middle| digits(line.volume as f64 / GIB as f64 / middle)),
        "÷ unsplit" => {
            reference.and_then(|reference| ratio(line, reference, |sample| sample.seconds)).map(digits)
        }
        "bytes sent" => whole(wire(|wire| wire.sent)).map(|value| value.to_string()),
        "received" => whole(wire(|wire| wire.received)).map(|value| value.to_string()),
        "÷ unsplit's bytes" => reference
            .and_then(|reference| {
                ratio(line, reference, |sample| sample.wire.map_or(f64::NAN, |wire| wire.sum() as f64))
            })
            .filter(|value| !value.is_nan())
            .map(digits),
        "CPU s" => of(line, |sample| sample.cpu).map(digits),
        "peak RSS" => most(|sample| sample.peak),
        "own memory" => most(|sample| sample.own),
        _ => None,
    };
    text.unwrap_or_else(|| "–".to_owned()).replace('|', "/").replace('\n', " ")
}

/// The median over the rounds of this line's value divided by the reference's of the same round.
fn ratio(line: &Line, reference: &Line, value: impl Fn(&Sample) -> f64) -> Option<f64> {
    let each: Vec<f64> = line
        .samples
        .iter()
        .filter_map(|sample| {
            let other = reference.samples.iter().find(|other| other.round == sample.round)?;
            Some(value(sample) / value(other))
        })
        .collect();
    median(&each)
}

/// Writes the tables into a document, between its markers if it has them.
pub(crate) fn put(path: &Path, tables: &str) -> anyhow::Result<()> {
    let before = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    let after = match (before.split_once(BEGIN), before.split_once(END)) {
        (Some((head, _)), Some((_, tail))) => format!("{head}{BEGIN}\n\n{tables}\n{END}{tail}"),
        _ if before.is_empty() => tables.to_owned(),
        _ => anyhow::bail!(
            "{} has other content and not the lines {BEGIN} and {END}: left as it is",
            path.display()
        ),
    };
    std::fs::write(path, after).with_context(|| format!("{} cannot be written", path.display()))
}
