//! A plan, on the screen and as JSON.

use super::parts::{kept, loss_table, to_run};
use super::verdict::{Document, one_line, reasons};
use super::words;
use crate::cli::Cli;
use crate::cli::compared;
use crate::cli::diff::offer_full;
use crate::cli::screen::{Screen, Tone};
use crate::cli::suggest::Suggestion;
use crate::judge::audit::SealedPlan;
use crate::model::delta::Uncertain;
use crate::model::plan::drbd::Reach;
use crate::model::plan::{Kind, Plan, Purpose};
use crate::model::size::human;
use crate::ports::store::Store;
use crate::resolver::desk::Desk;
use crate::resolver::draw::DrawnPlan;

/// A plan that was drawn just now, with what runs it. `again`: the command that drew it.
///
/// # Errors
/// When standard output is closed.
pub(in crate::cli) fn present(
    cli: &Cli,
    screen: &mut Screen,
    desk: &Desk,
    drawn: &DrawnPlan,
    again: Suggestion,
) -> std::io::Result<()> {
    if cli.json {
        return screen.json(&drawn_document(drawn));
    }
    show(screen, drawn, &desk.store.locate("salvage"))?;
    screen.heading("What was compared for this")?;
    compared::show(screen, "  ", drawn.seen)?;
    let plan = drawn.sealed.plan();
    to_run(cli, screen, drawn.sealed.id(), plan.salvage)?;
    offer_full(cli, screen, drawn.seen, &again.flag("--full", true).keep(plan.names[plan.survivor].as_str()))
}

/// A plan as JSON.
pub(in crate::cli) fn document(sealed: &SealedPlan) -> Document<'_> {
    let plan = sealed.plan();
    let verdict = match plan.purpose {
        Purpose::Heal => "heal",
        Purpose::Undo { .. } => "undo",
        Purpose::Fence => "fence",
    };
    let id = Some(sealed.id().0.to_string());
    Document { id, plan: Some(plan), ..Document::without_plan(verdict, &plan.trace, None) }
}

/// The same of one that was drawn just now.
pub(in crate::cli) fn drawn_document(drawn: &DrawnPlan) -> Document<'_> {
    Document {
        auto: Some(drawn.auto),
        coverage: Some(drawn.seen),
        in_use: drawn.in_use.as_ref().map_or(&[][..], |in_use| &in_use.users),
        ..document(&drawn.sealed)
    }
}

/// The whole plan in words.
///
/// # Errors
/// When standard output is closed.
pub(in crate::cli) fn show(screen: &mut Screen, drawn: &DrawnPlan, salvages: &str) -> std::io::Result<()> {
    let (sealed, plan) = (&drawn.sealed, drawn.sealed.plan());
    let (keep, lose) = (&plan.names[plan.survivor], &plan.names[plan.victim()]);
    let runs = plan.drbd().is_some();
    let running = if runs { ", running" } else { "" };
    let title = format!("Plan {} for {}{running}: keep {keep}, overwrite {lose}", sealed.id(), plan.resource);
    let title = screen.paint(Tone::Strong, &title);
    screen.line(title)?;
    if let Some(images) = plan.images() {
        let at = images.volume.at.as_ref().map(|source| one_line(&source.place_words()));
        screen.line(format!("  {keep} is {}", at[plan.survivor]))?;
        screen.line(format!("  {lose} is {}", at[plan.victim()]))?;
    }
    reasons(screen, &plan.trace)?;
    for (volume, common_base) in plan.volumes.iter().zip(common_bases(plan)) {
        if plan.volumes.len() > 1 {
            screen.line("")?;
            screen.line(format!("Volume {} ({})", volume.number, human(volume.size)))?;
        }
        let doubtful = (volume.doubtful, Uncertain::from_marks(common_base));
        loss_table(screen, keep.as_str(), lose.as_str(), &volume.losses, doubtful)?;
    }
    let what = || match runs {
        true => (plan.bytes(), format!("{lose}'s data"), ""),
        false => (
            plan.bytes(),
            format!("{lose}'s data and both sides' DRBD metadata"),
            " `unsplit undo` puts it back exactly.",
        ),
    };
    kept(screen, plan.salvage.then(what), salvages)?;
    if let Some(in_use) = drawn.in_use.as_ref().filter(|in_use| !in_use.users.is_empty()) {
        screen.line("")?;
        in_use.show(screen)?;
    }
    screen.heading("What will happen")?;
    steps(screen, plan)?;
    if runs {
        screen.line(format!("  {keep} stays in use all the time; {lose} must not be in use."))?;
    }
    Ok(())
}

/// Of each volume, whether the bitmaps had a common base.
fn common_bases(plan: &Plan) -> Vec<bool> {
    match plan.kind() {
        Some(Kind::Images(plan)) => vec![plan.ground.common_base],
        Some(Kind::Drbd(plan)) => {
            plan.ground.volumes.iter().map(|volume| volume.reach == Reach::Bitmaps).collect()
        }
        Some(Kind::Fence(_)) => Vec::new(),
        #[cfg(feature = "memory-disks")]
        Some(Kind::Memory(_)) => Vec::new(),
        None => Vec::new(),
    }
}

/// The steps, numbered.
///
/// # Errors
/// When standard output is closed.
pub(in crate::cli) fn steps(screen: &mut Screen, plan: &Plan) -> std::io::Result<()> {
    for (at, words) in words::steps(plan).into_iter().enumerate() {
        screen.line(format!("  {:>2}. {words}", at + 1))?;
    }
    Ok(())
}
