//! DRBD's after-split-brain policies, with exactly its semantics.
//!
//! Which of the three applies is decided by the roles at the handshake, not by those during the outage.
//! "Changes" are set bits (blocks touched at least once), neither bytes nor writes nor time. The frame of
//! reference is side A: `discard-local` discards A, `discard-remote` discards B; DRBD itself requires the two
//! nodes' settings to be mirror images in this.

use crate::model::drbd::Role;
use crate::model::lineage::Lineage;
use crate::model::policy::{AfterSb0pri, AfterSb1pri, AfterSb2pri, Settings};
use crate::model::side::{Pair, Side};
use crate::model::verdict::Reason;

/// What the policies conclude.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// No decision: DRBD drops the connection.
    Undecided,
    /// This side is overwritten.
    Discard {
        /// The loser.
        loser: Side,
        /// The loser is Primary and must give that up first; if it cannot, there is no decision.
        must_demote: bool,
    },
    /// The end of the connection that holds RESOLVE_CONFLICTS loses, and nobody knows which one that will be.
    /// `unless_primary`: and if that is a Primary, there is no decision.
    Tie {
        /// Only a Secondary may lose (`consensus`).
        unless_primary: bool,
    },
}

/// The conclusion and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighed {
    /// What the policies conclude.
    pub outcome: Outcome,
    /// One reason for each value that was looked at.
    pub reasons: Vec<Reason>,
}

/// Applies the policy that fits the number of Primaries. `holder` is the end that holds RESOLVE_CONFLICTS, if known.
#[must_use]
pub fn weigh(settings: &Settings, sides: Pair<&Lineage>, names: Pair<&str>, holder: Option<Side>) -> Weighed {
    let mut weighing = Weighing { settings, sides, names, holder, reasons: Vec::new() };
    let primaries: Vec<Side> =
        Side::BOTH.into_iter().filter(|side| sides[*side].role == Role::Primary).collect();
    let outcome = match primaries.as_slice() {
        [] => weighing.no_primary(),
        [primary] => weighing.one_primary(*primary),
        _ => weighing.two_primaries(),
    };
    Weighed { outcome, reasons: weighing.reasons }
}

/// The side that alone has quorum: DRBD 9 keeps it before it asks any policy, if quorum is configured.
#[must_use]
pub fn sole_quorate(sides: Pair<&Lineage>) -> Option<Side> {
    Side::BOTH
        .into_iter()
        .find(|side| sides[*side].quorate == Some(true) && sides[side.other()].quorate == Some(false))
}

struct Weighing<'a> {
    settings: &'a Settings,
    sides: Pair<&'a Lineage>,
    names: Pair<&'a str>,
    holder: Option<Side>,
    reasons: Vec<Reason>,
}

impl Weighing<'_> {
    fn say(&mut self, rule: impl Into<String>, evidence: impl Into<String>, conclusion: impl Into<String>) {
        self.reasons.push(Reason {
            rule: rule.into(),
            evidence: evidence.into(),
            conclusion: conclusion.into(),
        });
    }

    fn loses(loser: Side) -> Outcome {
        Outcome::Discard { loser, must_demote: false }
    }

    fn no_primary(&mut self) -> Outcome {
        let value = &self.settings.after_sb_0pri;
        let rule = format!("after-sb-0pri = {}", word_0pri(value));
        match value {
            AfterSb0pri::Disconnect => {
                self.say(rule, "", "no decision");
                Outcome::Undecided
            }
            AfterSb0pri::DiscardYoungerPrimary => self.by_age(&rule, false),
            AfterSb0pri::DiscardOlderPrimary => self.by_age(&rule, true),
            AfterSb0pri::DiscardZeroChanges => self.by_zero_changes(&rule).unwrap_or_else(|| {
                let evidence = self.bits();
                self.say(&rule, evidence, "both sides changed: no decision");
                Outcome::Undecided
            }),
            AfterSb0pri::DiscardLeastChanges => self.by_changes(&rule),
            AfterSb0pri::DiscardLocal => self.named(&rule, Some(Side::A)),
            AfterSb0pri::DiscardRemote => self.named(&rule, Some(Side::B)),
            AfterSb0pri::DiscardNode(node) => {
                let loser = Side::BOTH.into_iter().find(|side| self.names[*side] == node.as_str());
                self.named(&rule, loser)
            }
        }
    }

    fn named(&mut self, rule: &str, loser: Option<Side>) -> Outcome {
        let names = format!("a is {}, b is {}", self.names.a, self.names.b);
        match loser {
            Some(loser) => {
                let conclusion = format!("discard {}", self.names[loser]);
                self.say(rule, names, conclusion);
                Self::loses(loser)
            }
            None => {
                self.say(rule, names, "neither side has that name: no decision");
                Outcome::Undecided
            }
        }
    }

    /// Bit 0 of the bitmap UUID tells who already was Primary when the link broke: that side is the older Primary.
    fn by_age(&mut self, rule: &str, discard_older: bool) -> Outcome {
        let was = Pair::from_fn(|side| self.sides[side].bitmap.primary_bit());
        let evidence = format!(
            "already Primary when the link broke: {} {}, {} {}",
            self.names.a,
            yes_no(was.a),
            self.names.b,
            yes_no(was.b)
        );
        if was.a != was.b {
            let older = if was.a { Side::A } else { Side::B };
            let loser = if discard_older { older } else { older.other() };
            let conclusion = format!(
                "{} is the {} Primary: discard it",
                self.names[loser],
                if discard_older { "older" } else { "younger" }
            );
            self.say(rule, evidence, conclusion);
            return Self::loses(loser);
        }
        self.say(rule, evidence, "neither is older: DRBD goes on with discard-least-changes");
        self.by_changes("fall-through to discard-least-changes")
    }

    /// `None` when both sides changed.
    fn by_zero_changes(&mut self, rule: &str) -> Option<Outcome> {
        let evidence = self.bits();
        let changed = Pair::from_fn(|side| self.sides[side].dirty_bits > 0);
        match (changed.a, changed.b) {
            (true, true) => None,
            (false, false) => Some(self.tie(rule, "neither side changed")),
            (a_changed, _) => {
                let loser = if a_changed { Side::B } else { Side::A };
                let conclusion = format!("only {} is unchanged: discard it", self.names[loser]);
                self.say(rule, evidence, conclusion);
                Some(Self::loses(loser))
            }
        }
    }

    /// The test for zero changes comes first, then the smaller number of bits loses.
    fn by_changes(&mut self, rule: &str) -> Outcome {
        if let Some(outcome) = self.by_zero_changes(rule) {
            return outcome;
        }
        let evidence = self.bits();
        let (a, b) = (self.sides.a.dirty_bits, self.sides.b.dirty_bits);
        if a == b {
            return self.tie(rule, "both sides have the same number of changed blocks");
        }
        let loser = if a < b { Side::A } else { Side::B };
        let conclusion = format!("{} has fewer changed blocks: discard it", self.names[loser]);
        self.say(rule, evidence, conclusion);
        Self::loses(loser)
    }

    fn tie(&mut self, rule: &str, what: &str) -> Outcome {
        let evidence = self.bits();
        match self.holder {
            Some(loser) => {
                let conclusion =
                    format!("{what}: {} holds RESOLVE_CONFLICTS and is discarded", self.names[loser]);
                self.say(rule, evidence, conclusion);
                Self::loses(loser)
            }
            None => {
                self.say(
                    rule,
                    evidence,
                    format!("{what}: a tie, which DRBD breaks by a flag that depends on the connection"),
                );
                Outcome::Tie { unless_primary: false }
            }
        }
    }

    fn one_primary(&mut self, primary: Side) -> Outcome {
        let rule = format!("after-sb-1pri = {}", word_1pri(self.settings.after_sb_1pri));
        let evidence = format!("Primary: {}", self.names[primary]);
        match self.settings.after_sb_1pri {
            AfterSb1pri::Disconnect => {
                self.say(rule, evidence, "no decision");
                Outcome::Undecided
            }
            AfterSb1pri::DiscardSecondary => {
                let loser = primary.other();
                let conclusion = format!("{} is Secondary: discard it", self.names[loser]);
                self.say(rule, evidence, conclusion);
                Self::loses(loser)
            }
            AfterSb1pri::ViolentlyAs0p => {
                let outcome = self.no_primary();
                self.violently(&rule, evidence, outcome)
            }
            AfterSb1pri::CallPriLostAfterSb => {
                let outcome = self.no_primary();
                self.call_pri_lost(&rule, evidence, outcome)
            }
            AfterSb1pri::Consensus => match self.no_primary() {
                Outcome::Discard { loser, .. } if loser == primary => {
                    let conclusion =
                        format!("{} is Primary and would lose: no consensus, no decision", self.names[loser]);
                    self.say(rule, evidence, conclusion);
                    Outcome::Undecided
                }
                Outcome::Discard { loser, .. } => {
                    let conclusion =
                        format!("the loser {} is Secondary: consensus, discard it", self.names[loser]);
                    self.say(rule, evidence, conclusion);
                    Self::loses(loser)
                }
                Outcome::Tie { .. } => {
                    self.say(rule, evidence, "a tie: consensus only if the Secondary happens to lose it");
                    Outcome::Tie { unless_primary: true }
                }
                Outcome::Undecided => {
                    self.say(rule, evidence, "no decision");
                    Outcome::Undecided
                }
            },
        }
    }

    fn two_primaries(&mut self) -> Outcome {
        let rule = format!("after-sb-2pri = {}", word_2pri(self.settings.after_sb_2pri));
        let evidence = "both sides are Primary".to_owned();
        match self.settings.after_sb_2pri {
            AfterSb2pri::Disconnect => {
                self.say(rule, evidence, "no decision");
                Outcome::Undecided
            }
            AfterSb2pri::ViolentlyAs0p => {
                let outcome = self.no_primary();
                self.violently(&rule, evidence, outcome)
            }
            AfterSb2pri::CallPriLostAfterSb => {
                let outcome = self.no_primary();
                self.call_pri_lost(&rule, evidence, outcome)
            }
        }
    }

    fn violently(&mut self, rule: &str, evidence: String, outcome: Outcome) -> Outcome {
        let conclusion = match outcome {
            Outcome::Discard { loser, .. } if self.sides[loser].role == Role::Primary => {
                format!("discard {} although its application may be running on it", self.names[loser])
            }
            Outcome::Discard { loser, .. } => format!("discard {}", self.names[loser]),
            Outcome::Tie { .. } => "a tie".to_owned(),
            Outcome::Undecided => "no decision".to_owned(),
        };
        self.say(rule, evidence, conclusion);
        outcome
    }

    fn call_pri_lost(&mut self, rule: &str, evidence: String, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Discard { loser, .. } if self.sides[loser].role == Role::Primary => {
                let conclusion = format!(
                    "discard {}, which must give up the Primary role first; DRBD calls the handler pri-lost-after-sb if it cannot",
                    self.names[loser]
                );
                self.say(rule, evidence, conclusion);
                Outcome::Discard { loser, must_demote: true }
            }
            Outcome::Discard { loser, .. } => {
                let conclusion = format!("the loser {} is Secondary already: discard it", self.names[loser]);
                self.say(rule, evidence, conclusion);
                outcome
            }
            Outcome::Tie { .. } | Outcome::Undecided => {
                self.say(rule, evidence, if outcome == Outcome::Undecided { "no decision" } else { "a tie" });
                outcome
            }
        }
    }

    fn bits(&self) -> String {
        format!(
            "changed blocks: {} {}, {} {}",
            self.names.a, self.sides.a.dirty_bits, self.names.b, self.sides.b.dirty_bits
        )
    }
}

fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

/// The value as DRBD spells it.
#[must_use]
pub fn word_0pri(value: &AfterSb0pri) -> String {
    match value {
        AfterSb0pri::Disconnect => "disconnect".into(),
        AfterSb0pri::DiscardYoungerPrimary => "discard-younger-primary".into(),
        AfterSb0pri::DiscardOlderPrimary => "discard-older-primary".into(),
        AfterSb0pri::DiscardZeroChanges => "discard-zero-changes".into(),
        AfterSb0pri::DiscardLeastChanges => "discard-least-changes".into(),
        AfterSb0pri::DiscardLocal => "discard-local".into(),
        AfterSb0pri::DiscardRemote => "discard-remote".into(),
        AfterSb0pri::DiscardNode(node) => format!("discard-node-{node}"),
    }
}

/// The value as DRBD spells it.
#[must_use]
pub fn word_1pri(value: AfterSb1pri) -> &'static str {
    match value {
        AfterSb1pri::Disconnect => "disconnect",
        AfterSb1pri::Consensus => "consensus",
        AfterSb1pri::ViolentlyAs0p => "violently-as0p",
        AfterSb1pri::DiscardSecondary => "discard-secondary",
        AfterSb1pri::CallPriLostAfterSb => "call-pri-lost-after-sb",
    }
}

/// The value as DRBD spells it.
#[must_use]
pub fn word_2pri(value: AfterSb2pri) -> &'static str {
    match value {
        AfterSb2pri::Disconnect => "disconnect",
        AfterSb2pri::ViolentlyAs0p => "violently-as0p",
        AfterSb2pri::CallPriLostAfterSb => "call-pri-lost-after-sb",
    }
}
