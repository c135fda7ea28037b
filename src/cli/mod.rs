//! The command line: one file per command, and the rendering of what they show.
//!
//! Commands return an exit code or an error; only `src/bin/unsplit.rs` ends the process.

use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

pub mod agent;
mod at_terminal;
pub mod compare;
pub mod compared;
pub mod completions;
mod consent;
pub mod defect;
pub mod demo;
pub mod diff;
pub mod events;
pub mod exit;
pub mod handler;
pub mod history;
pub mod incident;
pub mod live;
pub mod man;
mod outlet;
pub mod pair;
pub mod plan;
pub mod policy;
pub mod reading;
pub mod reference;
pub mod report;
pub mod resolve;
pub mod salvage;
pub mod screen;
pub mod status;
pub mod still_open;
pub mod suggest;
pub mod undo;

use exit::Failure;
use screen::Screen;

/// Where journal, plans and salvages are kept by default.
pub const STATE_DIR: &str = "/var/lib/unsplit";

/// Find, understand and heal split brain in replicated storage, and keep what is discarded.
///
/// After a partition two nodes have both written to what should be one volume. Given both backing devices or
/// images, unsplit shows exactly what differs and who wrote it, decides by a written policy or asks, keeps a
/// copy of everything it is about to discard, makes both sides equal, proves it, and can undo it.
#[derive(Debug, Parser)]
#[command(name = "unsplit", version, propagate_version = true, max_term_width = 110, after_help = exit::HELP)]
pub struct Cli {
    /// Print one JSON document instead of text (see docs/json.md)
    #[arg(long, global = true)]
    pub json: bool,

    /// Where journal, plans and salvages are kept
    #[arg(long, global = true, value_name = "DIR", default_value = STATE_DIR)]
    pub state_dir: PathBuf,

    /// Colour the output
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show how two sides relate, or which incidents are open
    Status(status::StatusArgs),
    /// Show what differs, who wrote it, and in which volume
    Diff(diff::DiffArgs),
    /// Compare two files or devices byte by byte, whatever they hold
    Compare(compare::CompareArgs),
    /// Draw a plan: what would happen, what would be lost, what would be kept
    Plan(plan::PlanArgs),
    /// Run a plan, or draw and run one, or take up an interrupted one
    Resolve(resolve::ResolveArgs),
    /// Put back what a healing overwrote
    Undo(undo::UndoArgs),
    /// Write down the whole comparison: for the ticket, as text, JSON or one HTML page
    Report(report::command::ReportArgs),
    /// List, show and verify the kept copies
    Salvage(salvage::SalvageArgs),
    /// Show what was done, when and why
    History(history::HistoryArgs),
    /// Show what DRBD called its handlers for
    Events(events::EventsArgs),
    /// Check and explain policies
    Policy(policy::PolicyArgs),
    /// Make a split brain in a temporary folder, and heal it before your eyes
    Demo(demo::DemoArgs),
    /// What DRBD calls when something happens to a resource
    ///
    /// Not for people: `handlers` in drbd.conf name it, see packaging/drbd.d/unsplit.res. Every call is recorded (`unsplit events`
    /// shows them) and told to the system's log. Whatever happens to unsplit, its files or the network, DRBD gets an
    /// answer within the deadline, and never one that claims what is not proven.
    Handler(handler::HandlerArgs),
    /// Serve another unsplit over standard input and output
    Agent(agent::AgentArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Write manual pages, one for each command
    Man(man::ManArgs),
}

impl Command {
    /// Whether it changes something: then its exit code tells of that, whatever becomes of its words.
    #[must_use]
    pub fn acts(&self) -> bool {
        matches!(self, Command::Resolve(_) | Command::Undo(_) | Command::Demo(_) | Command::Man(_))
    }
}

/// Runs one command line.
///
/// # Errors
/// [`Failure`], which carries the exit code.
pub fn run(cli: &Cli, screen: &mut Screen) -> Result<u8, Failure> {
    let done = match &cli.command {
        Command::Status(args) => status::run(cli, args, screen),
        Command::Diff(args) => diff::run(cli, args, screen),
        Command::Compare(args) => compare::run(cli, args, screen),
        Command::Plan(args) => plan::run(cli, args, screen),
        Command::Resolve(args) => resolve::run(cli, args, screen),
        Command::Undo(args) => undo::run(cli, args, screen),
        Command::Report(args) => report::command::run(cli, args, screen),
        Command::Salvage(args) => salvage::run(cli, args, screen),
        Command::History(args) => history::run(cli, args, screen),
        Command::Demo(args) => demo::run(cli, args, screen),
        Command::Events(args) => events::run(cli, args, screen),
        Command::Handler(args) => handler::run(cli, args),
        Command::Agent(args) => agent::run(args),
        Command::Policy(args) => policy::run(args, screen.out(), cli.json).map_err(policy_failure),
        Command::Completions(args) => completions::run(args, screen),
        Command::Man(args) => man::run(cli, args, screen),
    };
    done.map_err(|failure| failure.in_state_dir(&plan::state_dir_words(cli)))
}

/// All that `policy` takes comes from the command line; besides, only printing can fail, which has no context.
fn policy_failure(error: anyhow::Error) -> Failure {
    let printing = error.chain().len() == 1 && error.is::<std::io::Error>();
    if printing {
        Failure::internal(error.context("the output could not be written"))
    } else {
        Failure::new(exit::Kind::Usage, error)
    }
}
