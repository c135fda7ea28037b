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
use crate::model::verdict::{Trace, Verdict};
use crate::resolver::draw::{Agreed, Held};
use crate::resolver::in_use::User;
use serde::Serialize;

/// A verdict, and the plan that follows from it, as JSON shows them.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Document<'a> {
    /// The document's name.
    pub(super) schema: &'static str,
    /// Of this form.
    pub(super) version: u32,
    /// In a word.
    pub(super) verdict: &'static str,
    /// Of the plan, if there is one.
    pub(super) id: Option<String>,
    /// Whether the policy lets it run without asking.
    pub(super) auto: Option<bool>,
    /// Why.
    pub(super) trace: &'a Trace,
    /// The plan, if there is one.
    pub(super) plan: Option<&'a Plan>,
    /// How much was compared; `None` for an undo, which compares nothing.
    pub(super) coverage: Option<Coverage>,
    /// Who uses the side that would be overwritten. Of images nobody may.
    pub(super) in_use: &'a [User],
}

impl<'a> Document<'a> {
    /// A verdict without a plan.
    pub(super) fn without_plan(
        verdict: &'static str,
        trace: &'a Trace,
        coverage: Option<Coverage>,
    ) -> Document<'a> {
        Document {
            schema: "unsplit.plan",
            version: 2,
            verdict,
            id: None,
            auto: None,
            trace,
            plan: None,
            coverage,
            in_use: &[],
        }
    }
}

/// That there is nothing to do, as JSON.
pub(in crate::cli) fn agree_document(agreed: &Agreed) -> Document<'_> {
    Document::without_plan("agree", &agreed.trace, Some(agreed.seen))
}

/// That no plan was drawn, as JSON.
pub(in crate::cli) fn held_document(held: &Held) -> Document<'_> {
    let refused = matches!(held.verdict, Verdict::Refuse { .. });
    let word = if refused { "refuse" } else { "hold" };
    Document::without_plan(word, held.verdict.trace(), Some(held.seen))
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

/// Tells why the policy does not decide, and what a person can type: `choose` is the command that keeps a side. Only sides
/// whose keeping unsplit itself would not warn of are proposed.
///
/// # Errors
/// When standard output is closed.
pub(in crate::cli) fn show_held(
    screen: &mut Screen,
    held: &Held,
    choose: &dyn Fn(&NodeName) -> Suggestion,
) -> std::io::Result<()> {
    let (verdict, names) = (&held.verdict, &held.names);
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
        let (keep, lose) = (&names[side], &names[side.other()]);
        screen.line(format!("  {}", choose(keep)))?;
        screen.line(format!(
            "      keeps {keep}'s data and overwrites {lose}; a copy is kept; a plan changes nothing yet"
        ))?;
    }
    Ok(())
}

/// Text in one line, for a screen, which spells out all else that acts on a terminal: what comes from elsewhere cannot
/// begin a line that looks like one of ours.
pub(super) fn one_line(text: &str) -> String {
    text.replace('\n', "\\n")
}

/// The trace, numbered.
///
/// # Errors
/// When standard output is closed.
pub(super) fn reasons(screen: &mut Screen, trace: &Trace) -> std::io::Result<()> {
    screen.heading("Why")?;
    for (at, reason) in trace.reasons().iter().enumerate() {
        let (rule, conclusion) = (one_line(&reason.rule), one_line(&reason.conclusion));
        screen.line(format!("  {}. {rule}: {conclusion}", at + 1))?;
        let evidence = screen.paint(Tone::Faint, &one_line(&reason.evidence));
        if !reason.evidence.is_empty() {
            screen.line(format!("     {evidence}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::verdict::Reason;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shown(Arc<Mutex<Vec<u8>>>);

    impl Write for Shown {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reason_stays_in_its_line_and_does_nothing_to_the_terminal() {
        let bad = || "x\u{1b}[2J\nNothing will be lost.".to_owned();
        let trace = Trace::new(Reason { rule: bad(), evidence: bad(), conclusion: bad() });
        let shown = Shown::default();
        reasons(&mut Screen::plain(Box::new(shown.clone())), &trace).unwrap();
        let text = String::from_utf8(shown.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains('\u{1b}') && text.matches("Nothing will be lost.").count() == 3, "{text}");
        assert!(!text.lines().any(|line| line.starts_with("Nothing")), "{text}");
    }
}
