//! The parts of a plan's page: what is lost, what is kept, the command that runs it.

use crate::cli::Cli;
use crate::cli::compared::{why_doubtful, wrote};
use crate::cli::consent::run_words;
use crate::cli::screen::{Screen, Tone};
use crate::model::delta::Uncertain;
use crate::model::id::PlanId;
use crate::model::plan::{Fate, UnitLoss};
use crate::model::size::human;

/// What `lose` loses, per unit.
///
/// # Errors
/// When standard output is closed.
pub(super) fn loss_table(
    screen: &mut Screen,
    keep: &str,
    lose: &str,
    losses: &[UnitLoss],
    (doubtful, why): (u64, Uncertain),
) -> std::io::Result<()> {
    let discards = |unit: &UnitLoss| unit.victim_only + unit.both + unit.unmarked;
    let total: u64 = losses.iter().map(discards).sum();
    screen.heading(&format!("What {lose} will lose"))?;
    let goes = |unit: &UnitLoss| unit.fate == Some(Fate::Disappears);
    if total == 0 && !losses.iter().any(goes) {
        screen.line(if doubtful == 0 {
            format!("  Nothing that {lose} wrote: it is only brought up to date.")
        } else {
            format!(
                "  Nothing that {lose} marked, and {} that it may have written all the same.",
                human(doubtful)
            )
        })?;
    }
    let wrote = wrote(why);
    let rows: Vec<Vec<String>> = losses
        .iter()
        .filter(|unit| discards(unit) > 0 || unit.fate.is_some())
        .map(|unit| {
            let mut parts = Vec::new();
            for (bytes, what) in [
                (unit.victim_only, format!("{wrote} only on {lose}")),
                (unit.both, format!("{wrote} on both sides")),
                (unit.unmarked, "different, but marked by neither side".to_owned()),
            ] {
                if bytes > 0 {
                    parts.push(format!("{} {what}", human(bytes)));
                }
            }
            let fate = unit.fate.as_ref().map(|fate| format!(": {}", fate_words(fate, keep, lose)));
            vec![format!("{}{}", unit.unit, fate.unwrap_or_default()), parts.join(", ")]
        })
        .collect();
    if !rows.is_empty() {
        screen.table(&[], &rows, 9)?;
        screen.line(format!("  {} in all.", human(total)))?;
    }
    let fetched: u64 = losses.iter().map(|unit| unit.survivor_only).sum();
    if fetched > 0 {
        let wrote = match why {
            Uncertain::HotLog => "wrote",
            Uncertain::NoCommonBase => "marked",
        };
        screen
            .line(format!("  And {} that only {keep} {wrote} will be copied to {lose}.", human(fetched)))?;
    }
    if doubtful > 0 {
        screen.line(format!(
            "  Of that, {} may have been written on {lose} as well: {}.",
            human(doubtful),
            why_doubtful(why)
        ))?;
    }
    Ok(())
}

/// What becomes of a unit that the two sides describe differently.
#[must_use]
pub(in crate::cli) fn fate_words(fate: &Fate, keep: &str, lose: &str) -> String {
    match fate {
        Fate::Disappears => format!("exists only on {lose}, disappears"),
        Fate::Appears => format!("exists only on {keep}, appears on {lose}"),
        Fate::Renamed { to } => format!("will be called {to}"),
        Fate::Resized { to } => format!("will have {} here", human(*to)),
        Fate::Moved => "will stand in another place".to_owned(),
    }
}

/// What will be kept: `None` for nothing; else how much of what, and what the sentence ends with.
///
/// # Errors
/// When standard output is closed.
pub(super) fn kept(
    screen: &mut Screen,
    kept: Option<(u64, String, &str)>,
    salvages: &str,
) -> std::io::Result<()> {
    screen.heading("What will be kept")?;
    let Some((bytes, of_what, end)) = kept else {
        let warning = screen.paint(
            Tone::Bad,
            "  NOTHING: the policy and the command line both say so. There will be no undo.",
        );
        return screen.line(warning);
    };
    screen.line(format!("  {} of {of_what}, verified, under {salvages},", human(bytes)))?;
    screen.line(format!("  before anything is overwritten.{end}"))
}

/// That nothing was changed yet, and how to run the plan.
///
/// # Errors
/// When standard output is closed.
pub(super) fn to_run(cli: &Cli, screen: &mut Screen, plan: PlanId, salvage: bool) -> std::io::Result<()> {
    screen.heading("Nothing has been changed. To run this plan")?;
    screen.line(format!("  {}", run_words(cli, plan, salvage)))
}
