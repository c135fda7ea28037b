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
use super::diff::offer_full;
use super::exit::{DIVERGED, FINE, Failure, HELD};
use super::live::{self, TargetArgs};
use super::screen::Screen;
use super::suggest::Suggestion;
use crate::edge::blockdev::Mode;
use crate::edge::terminal::TerminalProgress;
use crate::model::id::NodeName;
use crate::model::shell::shell_path;
use crate::resolver::access::{Choice, Target, TwoSides};
use crate::resolver::desk::open_desk;
use crate::resolver::draw::images::draw_plan;
use crate::resolver::draw::{Drawn, Held};
use crate::resolver::sides::open;
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
    let pair = match args.target.target()? {
        Target::Pair(pair) => pair,
        Target::Resource(resource) => return live::plan::run(cli, args, screen, &resource),
        Target::Several(wanted) => return live::several::plan::run(cli, args, screen, &wanted),
    };
    let settings = pair.access.settings()?;
    let opened = open(&pair, Mode::ReadOnly)?;
    let desk = open_desk(&cli.state_dir)?;
    let (choice, mut said) = (args.choice.choice(), Vec::new());
    let progress = TerminalProgress::new();
    let drawn = draw_plan(&opened, &pair.access, &choice, &settings, &desk, &progress, &mut said)?;
    if !cli.json {
        said.iter().try_for_each(|remark| screen.line(remark))?;
    }
    match &drawn {
        Drawn::Agree(agreed) => {
            agree(cli, screen, agreed, &everything(cli, &pair))?;
            Ok(FINE)
        }
        Drawn::Held(why) => {
            held(cli, screen, why, &pair, &choice)?;
            Ok(HELD)
        }
        Drawn::Sealed(drawn) => {
            let again = Suggestion::of_pair(cli, "plan", &pair).choice(&choice);
            present(cli, screen, &desk, drawn, again)?;
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
    pair: &TwoSides,
    choice: &Choice,
) -> Result<(), Failure> {
    if cli.json {
        return Ok(screen.json(&held_document(held))?);
    }
    let choose = |keep: &NodeName| Suggestion::of_pair(cli, "plan", pair).choice(choice).keep(keep.as_str());
    show_held(screen, held, &choose)?;
    Ok(offer_full(cli, screen, held.seen, &everything(cli, pair))?)
}

/// The command that compares everything, whatever is marked.
pub(super) fn everything(cli: &Cli, pair: &TwoSides) -> Suggestion {
    Suggestion::of_pair(cli, "diff", pair).flag("--full", true)
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
