//! What came of each of several resources: a line each, one document, one exit code.

use crate::cli::exit::{FINE, Failure, HELD, NOT_FENCED, PARKED};
use crate::cli::screen::{Screen, Tone};
use crate::model::id::NodeName;
use crate::model::side::Pair;
use crate::resolver::both::Both;
use serde::Serialize;
use serde_json::Value;

/// What came of a resource, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Compared: nothing differs.
    Equal,
    /// Compared: something differs.
    Different,
    /// Compared: something could not be read.
    Unreadable,
    /// A plan was drawn.
    Planned,
    /// There is nothing to heal.
    Agree,
    /// The policy does not decide: a person must.
    Held,
    /// No choice of survivor would be right.
    Refused,
    /// It was healed.
    Healed,
    /// A plan was drawn, and nobody agreed to it.
    NotAgreed,
    /// It is as it should be, and was passed over.
    Healthy,
    /// Something is the matter that this command is not for.
    Left,
    /// Only one of the two nodes knows it.
    OneNodeOnly,
    /// The node to be overwritten is in use.
    InUse,
    /// Its incident waits for a person.
    Parked,
    /// It failed.
    Failed,
}

impl Outcome {
    /// In capitals, for the first column.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Equal => "EQUAL",
            Outcome::Different => "DIFFERENT",
            Outcome::Unreadable => "UNREADABLE",
            Outcome::Planned => "PLAN DRAWN",
            Outcome::Agree => "NOTHING TO DO",
            Outcome::Held => "HELD",
            Outcome::Refused => "REFUSED",
            Outcome::Healed => "HEALED",
            Outcome::NotAgreed => "NOT AGREED",
            Outcome::Healthy => "HEALTHY",
            Outcome::Left => "LEFT ALONE",
            Outcome::OneNodeOnly => "ONE NODE ONLY",
            Outcome::InUse => "IN USE",
            Outcome::Parked => "PARKED",
            Outcome::Failed => "FAILED",
        }
    }

    fn tone(self) -> Tone {
        match self {
            Outcome::Equal | Outcome::Agree | Outcome::Healed | Outcome::Healthy => Tone::Good,
            Outcome::Planned | Outcome::Left | Outcome::OneNodeOnly => Tone::Strong,
            _ => Tone::Bad,
        }
    }
}

/// What came of one resource.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub resource: String,
    /// In a word.
    pub outcome: Outcome,
    /// The exit code that it alone would give.
    pub exit_code: u8,
    /// One sentence.
    pub says: String,
    /// What to type next.
    pub next: Vec<String>,
    /// What the command prints for this resource alone; null for those that were passed over.
    pub document: Option<Value>,
}

impl Row {
    /// A resource that failed.
    #[must_use]
    pub fn failed(resource: &str, failure: &Failure) -> Row {
        let outcome = match failure.code() {
            NOT_FENCED => Outcome::InUse,
            PARKED => Outcome::Parked,
            HELD => Outcome::Refused,
            _ => Outcome::Failed,
        };
        let causes: Vec<String> = failure.error.chain().map(ToString::to_string).collect();
        Row {
            resource: resource.to_owned(),
            outcome,
            exit_code: failure.code(),
            says: causes.join(": "),
            next: failure.hint.iter().cloned().collect(),
            document: Some(failure.document()),
        }
    }
}

/// What came of all of them.
#[derive(Debug, Serialize)]
pub struct List<'l> {
    schema: &'static str,
    version: u32,
    command: &'static str,
    names: Pair<NodeName>,
    peer: &'l str,
    exit_code: u8,
    resources: Vec<Row>,
}

impl<'l> List<'l> {
    /// Of these rows, in this order.
    #[must_use]
    pub fn new(command: &'static str, both: &'l Both, resources: Vec<Row>) -> List<'l> {
        let exit_code = resources.iter().map(|row| row.exit_code).max().unwrap_or(FINE);
        let (names, peer) = (both.names(), both.peer().as_str());
        List { schema: "unsplit.live-list", version: 1, command, names, peer, exit_code, resources }
    }

    /// The highest of the rows' exit codes: the higher, the more a person is needed.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// As a document, or a line each.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn show(&self, json: bool, screen: &mut Screen) -> std::io::Result<()> {
        if json {
            return screen.json(self);
        }
        let Pair { a, b } = &self.names;
        if self.resources.is_empty() {
            return screen.line(format!("No DRBD resources on {a} and {b}, neither running nor configured."));
        }
        let title = format!("All {} on {a} and {b}", plural(self.resources.len(), "resource"));
        let title = screen.paint(Tone::Strong, &title);
        screen.line(title)?;
        let wide = |f: fn(&Row) -> usize| self.resources.iter().map(f).max().unwrap_or(0);
        let word = wide(|row| row.outcome.word().len());
        let name = wide(|row| row.resource.len().min(40));
        for row in &self.resources {
            let painted = screen.paint(row.outcome.tone(), &format!("{:<word$}", row.outcome.word()));
            screen.line(format!("  {painted}  {:<name$}  {}", row.resource, row.says))?;
            for next in &row.next {
                screen.line(format!("      {next}"))?;
            }
        }
        let idle =
            |row: &Row| matches!(row.outcome, Outcome::Healthy | Outcome::OneNodeOnly | Outcome::Agree);
        if self.resources.iter().all(idle) {
            let line = screen.paint(Tone::Good, "Nothing to do.");
            screen.line(line)?;
        }
        Ok(())
    }
}

/// `1 resource`, `2 resources`.
#[must_use]
pub fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("{count} {word}") } else { format!("{count} {word}s") }
}
