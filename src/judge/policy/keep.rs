//! `keep`: whom unsplit keeps where DRBD's words give no decision. Missing evidence and ties decide nothing.

use super::case::Case;
use crate::model::policy::Keep;
use crate::model::side::{Pair, Side};
use crate::model::size::human;
use crate::model::verdict::Reason;
use std::cmp::Ordering;

/// The reason, and the survivor if there is one.
pub(super) fn weigh(keep: Option<&Keep>, case: &Case) -> (Reason, Option<Side>) {
    let Some(keep) = keep else {
        return (reason("keep = ask", "", "a person must choose"), None);
    };
    let names = case.names.as_ref().map(|name| name.as_str());
    let (evidence, outcome) = match keep {
        Keep::Node(node) => {
            let survivor = Side::BOTH.into_iter().find(|side| case.names[*side] == *node);
            (format!("a is {}, b is {}", names.a, names.b), survivor.ok_or("neither side has that name"))
        }
        Keep::MostChanges => most_changes(case, names),
        Keep::Newest => match case.clues.last_write {
            None => no_evidence("when each side last wrote"),
            Some(at) => (
                format!("last write: {} {} ms, {} {} ms since 1970", names.a, at.a.0, names.b, at.b.0),
                larger(at.a.cmp(&at.b), "both wrote last at the same moment"),
            ),
        },
        Keep::Quorate => sole(case.clues.quorate, names, "which side had quorum", "quorate"),
        Keep::RunningGuest => {
            sole(case.clues.running_guest, names, "on which side a guest runs on the volume", "guest running")
        }
    };
    let rule = format!("keep = {}", word(keep));
    match outcome {
        Ok(survivor) => (reason(&rule, &evidence, &format!("keep {}", case.names[survivor])), Some(survivor)),
        Err(why) => (reason(&rule, &evidence, &format!("{why}: no decision")), None),
    }
}

type Weighed = (String, Result<Side, &'static str>);

fn no_evidence(of: &str) -> Weighed {
    (format!("no evidence of {of}"), Err("nothing to decide by"))
}

fn larger(order: Ordering, tie: &'static str) -> Result<Side, &'static str> {
    match order {
        Ordering::Greater => Ok(Side::A),
        Ordering::Less => Ok(Side::B),
        Ordering::Equal => Err(tie),
    }
}

fn most_changes(case: &Case, names: Pair<&str>) -> Weighed {
    let delta = &case.delta;
    if !delta.marks_complete {
        return no_evidence("who changed what, as there is no common base");
    }
    // What both marked counts for both.
    let changed = Pair::from_fn(|side| delta.only(side).saturating_add(delta.both));
    (
        format!("changed by content: {} {}, {} {}", names.a, human(changed.a), names.b, human(changed.b)),
        larger(changed.a.cmp(&changed.b), "a tie"),
    )
}

fn sole(clue: Option<Pair<bool>>, names: Pair<&str>, what: &str, word: &str) -> Weighed {
    let Some(on) = clue else { return no_evidence(what) };
    let yes_no = on.map(|yes| if yes { "yes" } else { "no" });
    let outcome = match (on.a, on.b) {
        (true, false) => Ok(Side::A),
        (false, true) => Ok(Side::B),
        (true, true) => Err("on both sides"),
        (false, false) => Err("on neither side"),
    };
    (format!("{word}: {} {}, {} {}", names.a, yes_no.a, names.b, yes_no.b), outcome)
}

fn reason(rule: &str, evidence: &str, conclusion: &str) -> Reason {
    Reason { rule: rule.to_owned(), evidence: evidence.to_owned(), conclusion: conclusion.to_owned() }
}

/// The value as policy files spell it.
#[must_use]
pub fn word(keep: &Keep) -> &str {
    match keep {
        Keep::MostChanges => "most-changes",
        Keep::Newest => "newest",
        Keep::Quorate => "quorate",
        Keep::RunningGuest => "running-guest",
        Keep::Node(node) => node.as_str(),
    }
}
