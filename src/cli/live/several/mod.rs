//! A command about several resources: both nodes are asked once, over one session; one resource's failure stops no other.
//!
//! | file | holds |
//! |---|---|
//! | `diff` | compares them side by side |
//! | `plan` | draws their plans side by side |
//! | `resolve` | shows all plans, asks once, heals one after the other |

pub mod diff;
pub mod plan;
pub mod resolve;

use super::chosen::{Chosen, Task, choose};
use super::list::{Outcome, Row};
use crate::cli::Cli;
use crate::cli::exit::Failure;
use crate::cli::screen::Screen;
use crate::cli::still_open::{About, StillOpen};
use crate::edge::terminal::TerminalCount;
use crate::engine::drbd::pair::LivePair;
use crate::model::id::ResourceName;
use crate::model::node::NodeReport;
use crate::model::side::Pair;
use crate::resolver::access::Wanted;
use crate::resolver::both::Both;
use crate::resolver::nodes::backing_devices;
use crate::resolver::turns::{Share, in_turn};

/// Both nodes' words, and what was asked for.
struct Asked {
    reports: Pair<NodeReport>,
    chosen: Vec<Chosen>,
}

/// Asks both nodes, once.
fn ask(both: &Both, wanted: &Wanted, task: Task) -> Result<Asked, Failure> {
    let reports = both.reports()?;
    let chosen = choose(wanted, &reports, both.peer(), task);
    Ok(Asked { reports, chosen })
}

impl Asked {
    /// Those to take on.
    fn taken(&self) -> Vec<&ResourceName> {
        self.chosen.iter().filter_map(Chosen::taken).collect()
    }

    /// Works on those to take on, several at once, and hands the results over in order. What `work` gets of a resource is what
    /// both nodes told when they were asked.
    fn each<T: Send>(
        &self,
        both: &Both,
        threads: usize,
        what: &str,
        work: impl Fn(LivePair, Share) -> Result<T, Failure> + Sync,
        mut take: impl FnMut(&ResourceName, Result<T, Failure>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let names = self.taken();
        let share = Share::whole(threads).among(names.len());
        let count = TerminalCount::new(what, names.len());
        in_turn(
            names.len(),
            share.at_once,
            |at| {
                both.still_there()?;
                work(both.paired(&self.reports, names[at])?, share)
            },
            |at, result| count.done(|| take(names[at], result)),
        )
    }

    /// A row for each, in order: `of` says what came of those that were taken on.
    fn rows(self, mut of: impl FnMut(&ResourceName) -> Row) -> Vec<Row> {
        let row = |chosen| match chosen {
            Chosen::Take(name) => of(&name),
            Chosen::Leave(row) => row,
        };
        self.chosen.into_iter().map(row).collect()
    }
}

/// Names the incidents that are open about what is wanted.
fn still_open(cli: &Cli, screen: &mut Screen, wanted: &Wanted, asked: &Asked) -> Result<(), Failure> {
    if cli.json {
        return Ok(());
    }
    let names: Vec<&str> = match wanted {
        Wanted::All => Vec::new(),
        Wanted::Named(names) => names.iter().map(ResourceName::as_str).collect(),
    };
    let devices = backing_devices(&asked.reports.a.state, &names);
    let about = match wanted {
        Wanted::All => About::Everything,
        Wanted::Named(_) => About::Resources { names: &names, devices: &devices },
    };
    StillOpen::about(cli, about).show(screen)?;
    Ok(())
}

/// What came of each resource that was taken on.
#[derive(Default)]
struct Rows(std::collections::BTreeMap<String, Row>);

impl Rows {
    fn put(&mut self, row: Row) {
        self.0.insert(row.resource.clone(), row);
    }

    /// Every resource that was taken on has a row by then.
    fn take(&mut self, name: &ResourceName) -> Row {
        self.0.remove(name.as_str()).unwrap_or_else(|| {
            Row::failed(
                name.as_str(),
                &Failure::internal(anyhow::anyhow!("nothing is known of it: a defect")),
            )
        })
    }
}

/// A row with a document.
fn row(
    name: &ResourceName,
    outcome: Outcome,
    exit_code: u8,
    says: impl Into<String>,
    next: Vec<String>,
    document: impl serde::Serialize,
) -> Result<Row, Failure> {
    let document = Some(serde_json::to_value(document).map_err(Failure::internal)?);
    Ok(Row { resource: name.to_string(), outcome, exit_code, says: says.into(), next, document })
}
