//! `unsplit plan`.
//!
//! | file | holds |
//! |---|---|
//! | `verdict` | nothing to do, held, refused; the reasons |
//! | `page` | a plan on the screen, and as JSON |
//! | `parts` | what is lost, what is kept, what runs it |
//! | `words` | its steps in words |

mod page;
mod parts;
mod verdict;
mod words;

pub(super) use page::{document, drawn_document, present, show, steps};
pub(super) use parts::fate_words;
pub(super) use verdict::{agree, agree_document, held_document, show_held};

use super::Cli;
use super::at_terminal::AtTerminal;
use super::diff::offer_full;
use super::exit::{DIVERGED, FINE, Failure, HELD};
use super::live::{self, TargetArgs};
use super::screen::Screen;
use super::still_open::{About, StillOpen};
use super::suggest::{Suggestion, Topic};
use crate::edge::blockdev::Mode;
use crate::model::id::NodeName;
use crate::model::shell::shell_path;
use crate::model::verdict::Verdict;
use crate::resolver::access::{Access, Choice, Target};
use crate::resolver::desk::open_desk;
use crate::resolver::draw::{Drawn, Held, draw};
use crate::resolver::opened::Opened;
use clap::Args;

/// Draw a plan: what would happen, what would be lost, what would be kept.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  unsplit plan r0 --peer ssh:node2 --keep node1\n  unsplit plan --all --peer ssh:node2 --policy FILE  all that are split\n  unsplit plan node1.img node2.img --keep a\n  unsplit plan node1.img node2.img --policy policies/classic-two-node.toml\n\nA plan changes nothing. `unsplit resolve --plan ID` runs it, as long as both sides are still as they were."
)]
pub struct PlanArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub target: TargetArgs,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub choice: ChoiceArgs,
}

/// What to keep, and how.
#[derive(Debug, Clone, Default, Args)]
pub struct ChoiceArgs {
    /// Keep this side, whatever the policy says: `a`, `b`, or a name
    #[arg(long, value_name = "SIDE")]
    pub keep: Option<String>,

    /// Compare the whole volume, before and after
    #[arg(long)]
    pub full: bool,

    /// Keep no copy of what is discarded; only together with a policy that says salvage = "off"
    #[arg(long)]
    pub no_salvage: bool,
}

impl ChoiceArgs {
    /// What was chosen.
    #[must_use]
    pub fn choice(&self) -> Choice {
        Choice { keep: self.keep.clone(), full: self.full, no_salvage: self.no_salvage }
    }
}

pub(super) fn run(cli: &Cli, args: &PlanArgs, screen: &mut Screen) -> Result<u8, Failure> {
    match args.target.target()? {
        Target::Several(wanted) => live::several::plan::run(cli, args, screen, &wanted),
        Target::Pair(two) => {
            // A wrong policy is said before anything is opened.
            two.access.policy()?;
            let opened = Opened::sides(&two, Mode::ReadOnly)?;
            of_one(cli, args, screen, &opened, Topic::Sides(&two), &two.access)
        }
        Target::Resource(name) => {
            let given = args.target.options.access();
            given.policy()?;
            let access = given.about(&name);
            let opened = Opened::nodes(&access, "plan")?;
            if !cli.json {
                // Before it is refused because of it, perhaps only after much was compared.
                let devices = opened.devices_here(&name)?;
                let about = About::Resources { names: &[name.as_str()], devices: &devices };
                StillOpen::about(cli, about).show(screen)?;
            }
            of_one(cli, args, screen, &opened, Topic::Resource(&name, &given), &access)
        }
    }
}

fn of_one(
    cli: &Cli,
    args: &PlanArgs,
    screen: &mut Screen,
    opened: &Opened,
    topic: Topic<'_>,
    access: &Access,
) -> Result<u8, Failure> {
    let (desk, choice) = (open_desk(&cli.state_dir)?, args.choice.choice());
    match draw(&desk, &mut AtTerminal::new(cli, screen, &desk, false), opened, access, &choice)? {
        Drawn::Agree(agreed) => {
            agree(cli, screen, &agreed, &everything(cli, topic))?;
            Ok(FINE)
        }
        Drawn::Held(why) => {
            held(cli, screen, &why, topic, &choice)?;
            Ok(HELD)
        }
        Drawn::Sealed(drawn) => {
            let again = Suggestion::about(cli, "plan", topic).choice(&choice);
            present(cli, screen, &desk, &drawn, again)?;
            Ok(DIVERGED)
        }
    }
}

/// Tells why the policy does not decide, and what a person can type.
///
/// # Errors
/// When standard output is closed.
pub(super) fn held(
    cli: &Cli,
    screen: &mut Screen,
    held: &Held,
    topic: Topic<'_>,
    choice: &Choice,
) -> Result<(), Failure> {
    if cli.json {
        return Ok(screen.json(&held_document(held))?);
    }
    let choose = |keep: &NodeName| choose(cli, topic, choice, keep);
    show_held(screen, held, &choose)?;
    if matches!((&held.verdict, topic), (Verdict::Refuse { .. }, Topic::Resource(..))) {
        screen.heading("What it is, and what can be typed")?;
        screen.line(format!("  {}", Suggestion::about(cli, "status", topic)))?;
    }
    Ok(offer_full(cli, screen, held.seen, &everything(cli, topic))?)
}

/// The command that shows what keeping a side would do.
#[must_use]
pub(super) fn choose(cli: &Cli, topic: Topic<'_>, choice: &Choice, keep: &NodeName) -> Suggestion {
    Suggestion::about(cli, "plan", topic).choice(choice).keep(keep.as_str())
}

/// The command that compares everything, whatever is marked.
#[must_use]
pub(super) fn everything(cli: &Cli, topic: Topic<'_>) -> Suggestion {
    Suggestion::about(cli, "diff", topic).flag("--full", true)
}

/// ` --state-dir DIR`, when it is not the default.
#[must_use]
pub fn state_dir_words(cli: &Cli) -> String {
    if cli.state_dir.as_os_str() == super::STATE_DIR {
        String::new()
    } else {
        let absolute = std::path::absolute(&cli.state_dir);
        format!(" --state-dir {}", shell_path(absolute.as_deref().unwrap_or(&cli.state_dir)))
    }
}
