//! What a policy came to when it is no plan: nothing to do, or a person must choose. And its reasons.

use crate::cli::Cli;
use crate::cli::compared;
use crate::cli::diff::offer_full;
use crate::cli::exit::Failure;
use crate::cli::screen::{Screen, Tone};
use crate::cli::suggest::Suggestion;
use crate::model::delta::Coverage;
use crate::model::id::NodeName;
use crate::model::plan::Plan;
use crate::model::side::Pair;
use crate::model::verdict::{Trace, Verdict};
use crate::resolver::draw::{Agreed, Held};
use serde::Serialize;

/// A verdict, and the plan that follows from it, as JSON shows them: for devices and for resources that run.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Document<'a, P: Serialize, U: Serialize = ()> {
    /// The document's name.
    pub schema: &'static str,
    /// Of this form.
    pub version: u32,
    /// In a word.
    pub verdict: &'static str,
    /// Of the plan, if there is one.
    pub id: Option<String>,
    /// Whether the policy lets it run without asking.
    pub auto: Option<bool>,
    /// Why.
    pub trace: &'a Trace,
    /// The plan, if there is one.
    pub plan: Option<&'a P>,
    /// How much was compared; `None` for an undo, which compares nothing.
    pub coverage: Option<Coverage>,
    /// For resources that run: who uses the side that would be overwritten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_use: Option<U>,
}

impl<'a, P: Serialize, U: Serialize> Document<'a, P, U> {
    /// A verdict without a plan.
    pub(in crate::cli) fn without_plan(
        schema: &'static str,
        verdict: &'static str,
        trace: &'a Trace,
    ) -> Document<'a, P, U> {
        Document {
            schema,
            version: 1,
            verdict,
            id: None,
            auto: None,
            trace,
            plan: None,
            coverage: None,
            in_use: None,
        }
    }
}

/// That there is nothing to do, as JSON.
pub(in crate::cli) fn agree_document(agreed: &Agreed) -> Document<'_, Plan> {
    let document = Document::without_plan("unsplit.plan", "agree", &agreed.trace);
    Document { coverage: Some(agreed.seen), ..document }
}

/// Tells that there is nothing to do, as far as was compared. `whole`: what compares the rest.
///
/// # Errors
/// When standard output is closed.
pub(in crate::cli) fn agree(
    cli: &Cli,
    screen: &mut Screen,
    agreed: &Agreed,
    whole: &Suggestion,
) -> Result<(), Failure> {
    if cli.json {
        screen.json(&agree_document(agreed))?;
        return Ok(());
    }
    let line = if agreed.seen.whole() {
        screen.paint(Tone::Good, "Nothing to do: the sides agree.")
    } else {
        screen.paint(Tone::Strong, "Nothing to do, as far as DRBD's marks tell.")
    };
    screen.line(line)?;
    compared::show(screen, "", agreed.seen)?;
    reasons(screen, &agreed.trace)?;
    Ok(offer_full(cli, screen, agreed.seen, whole)?)
}

/// `hold` or `refuse`.
#[must_use]
pub(in crate::cli) fn held_word(verdict: &Verdict) -> &'static str {
    if matches!(verdict, Verdict::Refuse { .. }) { "refuse" } else { "hold" }
}

/// Tells why the policy does not decide, and what a person can type: `choose` is the command that keeps a side. Only sides
/// whose keeping unsplit itself would not warn of are proposed.
///
/// # Errors
/// When standard output is closed.
pub(in crate::cli) fn show_held(
    screen: &mut Screen,
    held: &Held,
    names: Pair<&NodeName>,
    choose: &dyn Fn(&NodeName) -> Suggestion,
) -> std::io::Result<()> {
    let verdict = &held.verdict;
    let refused = matches!(verdict, Verdict::Refuse { .. });
    let headline = if refused {
        "Refused: no choice of survivor would be right on this evidence. Nothing was changed."
    } else {
        "Held: the policy does not decide this case. A person must choose. Nothing was changed."
    };
    let headline = screen.paint(Tone::Bad, headline);
    screen.line(headline)?;
    compared::show(screen, "", held.seen)?;
    reasons(screen, verdict.trace())?;
    if refused {
        return Ok(());
    }
    screen.heading("To choose, see in detail what each choice would do")?;
    if held.keepable.is_empty() {
        return screen.line("  No side can be proposed: neither is whole.");
    }
    for side in held.keepable.iter().copied() {
        let (keep, lose) = (names[side], names[side.other()]);
        screen.line(format!("  {}", choose(keep)))?;
        screen.line(format!(
            "      keeps {keep}'s data and overwrites {lose}; a copy is kept; a plan changes nothing yet"
        ))?;
    }
    Ok(())
}

/// The trace, numbered.
///
/// # Errors
/// When standard output is closed.
pub(in crate::cli) fn reasons(screen: &mut Screen, trace: &Trace) -> std::io::Result<()> {
    screen.heading("Why")?;
    for (at, reason) in trace.reasons().iter().enumerate() {
        screen.line(format!("  {}. {}: {}", at + 1, reason.rule, reason.conclusion))?;
        let evidence = screen.paint(Tone::Faint, &reason.evidence);
        if !reason.evidence.is_empty() {
            screen.line(format!("     {evidence}"))?;
        }
    }
    Ok(())
}
