//! The verdict: guards first, then the operator's word, then the lineage, DRBD's policies, and `keep`.

use super::after_sb::{self, Outcome};
use super::case::{Case, DeltaSummary};
use super::keep;
use crate::judge::lineage::CONTRADICTORY;
use crate::judge::worse::{goes_back, poorer};
use crate::model::drbd::{DiskState, MetadataFormat, Role};
use crate::model::lineage::{Reconnect, Relation};
use crate::model::policy::{FenceRule, RrConflict, SalvageRule, Settings};
use crate::model::side::{Pair, Side};
use crate::model::size::human;
use crate::model::verdict::{Reason, Trace, Verdict};

/// Decides one case by the settings that apply to its resource.
#[must_use]
pub fn decide(settings: &Settings, case: &Case) -> Verdict {
    decide_as(settings, case, Setting::Devices)
}

/// The same for a resource that runs on both nodes: the verdict does not differ, what is said of its conditions does.
#[must_use]
pub fn decide_running(settings: &Settings, case: &Case) -> Verdict {
    decide_as(settings, case, Setting::Running)
}

/// What is to be healed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    /// Devices or images, with nothing running on them.
    Devices,
    /// A resource that is up on both nodes.
    Running,
}

fn decide_as(settings: &Settings, case: &Case, setting: Setting) -> Verdict {
    let found = &case.comparison;
    let rule = found.rule.map_or_else(String::new, |number| format!("rule {number}, "));
    let first = Reason {
        rule: format!("lineage: {} {rule}{}", found.format, found.name),
        evidence: format!("result {}", found.result),
        conclusion: match found.relation {
            Relation::InSync => "the same generation".to_owned(),
            Relation::Ahead => format!("{} is the successor of {}", case.names.a, case.names.b),
            Relation::Behind => format!("{} is the successor of {}", case.names.b, case.names.a),
            Relation::Diverged => "split brain: both went on from a common ancestor".to_owned(),
            Relation::Unrelated => "nothing in common".to_owned(),
        },
    };
    let judge = Judge { settings, case, setting, trace: Trace::new(first) };
    match found.relation {
        Relation::Unrelated => judge.unrelated(),
        _ if judge.both_inconsistent() => judge.no_whole_side(),
        _ if case.keep.is_some() => judge.by_operator(),
        Relation::InSync => judge.in_sync(),
        Relation::Ahead => judge.successor(Side::A),
        Relation::Behind => judge.successor(Side::B),
        Relation::Diverged => judge.diverged(),
    }
}

struct Judge<'a> {
    settings: &'a Settings,
    case: &'a Case,
    setting: Setting,
    trace: Trace,
}

impl Judge<'_> {
    fn name(&self, side: Side) -> &str {
        self.case.names[side].as_str()
    }

    fn disk(&self, side: Side) -> DiskState {
        self.case.lineages[side].disk
    }

    fn states(&self) -> Pair<DiskState> {
        self.case.lineages.as_ref().map(|lineage| lineage.disk)
    }

    fn poorer(&self, side: Side) -> bool {
        poorer(self.states(), &self.case.comparison, side)
    }

    fn disks(&self) -> String {
        format!(
            "{} {:?}, {} {:?}",
            self.name(Side::A),
            self.disk(Side::A),
            self.name(Side::B),
            self.disk(Side::B)
        )
    }

    fn both_inconsistent(&self) -> bool {
        Side::BOTH.into_iter().all(|side| self.disk(side) == DiskState::Inconsistent)
    }

    /// The Inconsistent side, if the other one is better.
    fn broken(&self) -> Option<Side> {
        Side::BOTH.into_iter().find(|side| {
            self.disk(*side) == DiskState::Inconsistent && self.disk(side.other()) > DiskState::Inconsistent
        })
    }

    fn dirty(&self) -> u64 {
        let (a, b) = (&self.case.lineages.a, &self.case.lineages.b);
        a.dirty_bits.saturating_add(b.dirty_bits)
    }

    fn say(&mut self, rule: impl Into<String>, evidence: impl Into<String>, conclusion: impl Into<String>) {
        self.trace.push(rule, evidence, conclusion);
    }

    fn hold(self) -> Verdict {
        Verdict::Hold { trace: self.trace }
    }

    fn refuse(self) -> Verdict {
        Verdict::Refuse { trace: self.trace }
    }

    fn unrelated(mut self) -> Verdict {
        self.say(
            "guard: unrelated data",
            "DRBD takes the two sides for unrelated data",
            "refuse: healing would replace one data set by another; if that is wanted, give the victim fresh metadata",
        );
        self.refuse()
    }

    fn no_whole_side(mut self) -> Verdict {
        let fresh = self.case.comparison.name == "just-created-both";
        let disks = self.disks();
        self.say(
            "guard: disk states",
            disks,
            if fresh {
                "refuse: both disks are fresh and hold nobody's data yet"
            } else {
                "refuse: both sides were in the middle of a resync, neither is whole"
            },
        );
        self.refuse()
    }

    /// The operator's word counts more than lineage and policy, but not more than the guards.
    fn by_operator(mut self) -> Verdict {
        let Some(survivor) = self.case.keep else { return self.hold() };
        let victim = survivor.other();
        let (kept, lost) = (self.name(survivor).to_owned(), self.name(victim).to_owned());
        if self.agrees() {
            return self.in_sync();
        }
        let newer = match self.case.comparison.relation {
            Relation::Ahead => Some(Side::A),
            Relation::Behind => Some(Side::B),
            _ => None,
        };
        let poorer = self.poorer(survivor);
        let back = goes_back(self.states(), &self.case.comparison, survivor);
        if newer == Some(victim) && !back {
            let disks = self.disks();
            self.say(
                "operator: --keep",
                disks,
                format!(
                    "keep {kept}, discard {lost}: THIS GOES BACK TO OLDER DATA; {lost} has the newer generation, but is half written"
                ),
            );
        } else if newer == Some(victim) {
            self.say(
                "operator: --keep",
                format!("{kept} is the OLDER side"),
                format!(
                    "keep {kept}: THIS GOES BACK TO OLDER DATA and discards everything {lost} has written since"
                ),
            );
        } else if poorer {
            let disks = self.disks();
            self.say(
                "operator: --keep",
                disks,
                format!("keep {kept}: THIS KEEPS THE POORER DISK and discards what {lost} has"),
            );
        } else {
            self.say("operator: --keep", format!("named {kept}"), format!("keep {kept}, discard {lost}"));
        }
        self.heal(survivor)
    }

    fn agrees(&self) -> bool {
        let delta = &self.case.delta;
        self.case.comparison.relation == Relation::InSync
            && self.broken().is_none()
            && delta.differs() == 0
            && delta.unreadable_a == 0
            && delta.unreadable_b == 0
            && self.dirty() == 0
    }

    fn in_sync(mut self) -> Verdict {
        if let Some(broken) = self.broken() {
            let survivor = broken.other();
            let conclusion = format!("keep {}: the only whole side", self.name(survivor));
            let disks = self.disks();
            self.say("disk states", disks, conclusion);
            return self.heal(survivor);
        }
        let delta = self.case.delta;
        if self.agrees() {
            let (evidence, conclusion) = agreement(&delta);
            self.say("content", evidence, conclusion);
            return Verdict::Agree { trace: self.trace };
        }
        let unreadable = delta.unreadable_a > 0 || delta.unreadable_b > 0;
        if !unreadable && let Some(source) = self.unfinished() {
            return self.finish(source);
        }
        let evidence = format!("{} differ, {} bits mark blocks", human(delta.differs()), self.dirty());
        let conclusion = if unreadable {
            format!(
                "unreadable: {} on {}, {} on {}: agreement cannot be proven",
                human(delta.unreadable_a),
                self.name(Side::A),
                human(delta.unreadable_b),
                self.name(Side::B)
            )
        } else if delta.differs() > 0 {
            "the generations are the same but the contents are not: nothing says which side is right"
                .to_owned()
        } else {
            "the contents agree, but marks are left over: DRBD may keep or drop them without a resync"
                .to_owned()
        };
        self.say("content", evidence, conclusion);
        match self.case.comparison.reconnect.clone() {
            Reconnect::Unpredictable { because } => {
                self.say("reconnect", because, "DRBD's choice would be unpredictable");
            }
            Reconnect::Disconnect { because } => {
                self.say("reconnect", because, "DRBD itself would drop the connection");
            }
            Reconnect::Connect { .. } | Reconnect::Resync { .. } => {}
        }
        self.hint_at_the_better_disk();
        self.hold()
    }

    fn hint_at_the_better_disk(&mut self) {
        let better = Side::BOTH.into_iter().find(|side| self.disk(*side) > self.disk(side.other()));
        let Some(better) = better else { return };
        let (disks, name) = (self.disks(), self.name(better));
        let conclusion =
            format!("no decision, but a hint: {name} has the better disk, and --keep {name} keeps it");
        self.say("disk states", disks, conclusion);
    }

    /// Equal generations: the side from which DRBD's rules would finish what a cut or a crash left undone. None where DRBD
    /// itself would not, or where something differs that no bitmap marks.
    fn unfinished(&self) -> Option<Side> {
        match self.case.comparison.reconnect {
            Reconnect::Resync { source, .. } => Some(source),
            // `rr-conflict` decides on that below, and says so.
            Reconnect::Disconnect { .. } => self.case.comparison.source,
            Reconnect::Connect { .. } | Reconnect::Unpredictable { .. } => None,
        }
        .filter(|_| self.case.delta.unmarked == 0)
    }

    /// Neither side is older. The rule names a source all the same; its disk must be worth it.
    fn finish(mut self, source: Side) -> Verdict {
        let (from, to) = (self.name(source).to_owned(), self.name(source.other()).to_owned());
        let found = &self.case.comparison;
        let unfit = found.missed_finish() && self.disk(source) != DiskState::UpToDate;
        if unfit || self.poorer(source) {
            let (rule, disks) = (found.name.clone(), self.disks());
            let conclusion = format!(
                "by rule {rule} what is marked would be copied from {from} to {to}, but {from}'s disk is not fit for that: no decision"
            );
            self.say("guard: disk states", disks, conclusion);
            self.hint_at_the_better_disk();
            return self.hold();
        }
        let conclusion =
            format!("keep {from}: the same generation, and DRBD copies what is marked from {from}");
        let evidence = found.name.clone();
        self.say("lineage", evidence, conclusion);
        if self.live_primary_loses(source.other(), false) {
            return self.hold();
        }
        self.heal(source)
    }

    fn successor(mut self, survivor: Side) -> Verdict {
        if self.broken() == Some(survivor) {
            let (disks, name) = (self.disks(), self.name(survivor).to_owned());
            let other = self.name(survivor.other());
            let conclusion = format!(
                "the successor {name} is Inconsistent and cannot be kept, {other} is older: no decision. If a third node was the \
                 source of {name}'s resync, connect those two first"
            );
            self.say("guard: disk states", disks, conclusion);
            return self.hold();
        }
        let conclusion = format!("keep {}: the successor", self.name(survivor));
        let evidence = self.case.comparison.name.clone();
        self.say("lineage", evidence, conclusion);
        if self.live_primary_loses(survivor.other(), false) {
            return self.hold();
        }
        self.heal(survivor)
    }

    fn diverged(mut self) -> Verdict {
        if self.case.comparison.name == CONTRADICTORY {
            self.say(
                "guard: contradictory lineage",
                self.case.comparison.result.clone(),
                "no policy applies: DRBD's own rules give two answers",
            );
            return self.hold();
        }
        if let Some(broken) = self.broken() {
            let (disks, survivor) = (self.disks(), broken.other());
            if self.case.comparison.format == MetadataFormat::V08 {
                let conclusion = format!(
                    "keep {}: in 8.4 disk states come before split brain policies, and {} is Inconsistent",
                    self.name(survivor),
                    self.name(broken)
                );
                self.say("disk states", disks, conclusion);
                if self.live_primary_loses(broken, false) {
                    return self.hold();
                }
                return self.heal(survivor);
            }
            let conclusion =
                format!("a split brain all the same in DRBD 9; {} cannot be kept", self.name(broken));
            self.say("disk states", disks, conclusion);
        }
        if !self.case.comparison.common_base && !self.settings.always_asbp {
            self.say(
                "always-asbp = no",
                "no common base: only older generations are in common",
                "policies do not apply by themselves: no decision",
            );
            return self.hold();
        }
        if let Some(survivor) = self.by_drbd() {
            return self.kept_by_policy(survivor);
        }
        let (reason, survivor) = keep::weigh(self.settings.keep.as_ref(), self.case);
        self.say(reason.rule, reason.evidence, reason.conclusion);
        match survivor {
            Some(survivor) => self.kept_by_policy(survivor),
            None => self.hold(),
        }
    }

    /// A policy may not keep an Inconsistent side; that it would is a reason to ask.
    fn kept_by_policy(mut self, survivor: Side) -> Verdict {
        if self.broken() == Some(survivor) {
            let (disks, name) = (self.disks(), self.name(survivor).to_owned());
            self.say("guard: disk states", disks, format!("{name} is Inconsistent and cannot be kept"));
            return self.hold();
        }
        self.heal(survivor)
    }

    /// What DRBD would decide of a split brain: quorum (9), the policy for the number of Primaries, `rr-conflict`.
    fn by_drbd(&mut self) -> Option<Side> {
        let sides = self.case.lineages.as_ref();
        if self.case.comparison.format == MetadataFormat::V09
            && let Some(survivor) = after_sb::sole_quorate(sides)
        {
            let conclusion =
                format!("keep {}: DRBD 9 asks for quorum before any policy", self.name(survivor));
            let evidence = format!("only {} has quorum", self.name(survivor));
            self.say("quorum", evidence, conclusion);
            return (!self.live_primary_loses(survivor.other(), false)).then_some(survivor);
        }
        let weighed =
            after_sb::weigh(self.settings, sides, self.case.names.as_ref().map(|n| n.as_str()), None);
        for reason in weighed.reasons {
            self.say(reason.rule, reason.evidence, reason.conclusion);
        }
        match weighed.outcome {
            Outcome::Undecided | Outcome::Tie { .. } => None,
            Outcome::Discard { loser, must_demote } => {
                (!self.live_primary_loses(loser, must_demote)).then_some(loser.other())
            }
        }
    }

    /// `rr-conflict`: whether DRBD would drop the connection rather than overwrite `victim` under its application.
    fn live_primary_loses(&mut self, victim: Side, must_demote: bool) -> bool {
        let sides = &self.case.lineages;
        let live = sides[victim].role == Role::Primary && self.disk(victim) >= DiskState::Consistent;
        // DRBD 9 lets a target without a single marked block pass.
        let counts = self.case.comparison.format == MetadataFormat::V08 || self.dirty() > 0;
        if !live || !counts || must_demote {
            return false;
        }
        let rule = format!("rr-conflict = {}", word_rr(self.settings.rr_conflict));
        let evidence = format!("{} is Primary and would be overwritten", self.name(victim));
        let go_on = match self.settings.rr_conflict {
            RrConflict::Violently => true,
            RrConflict::AutoDiscard => self.case.comparison.format == MetadataFormat::V09,
            RrConflict::Disconnect | RrConflict::CallPriLost | RrConflict::RetryConnect => false,
        };
        self.say(rule, evidence, if go_on { "go on all the same" } else { "no decision" });
        !go_on
    }

    /// The guards that stand before every healing.
    fn heal(mut self, survivor: Side) -> Verdict {
        let victim = survivor.other();
        let by_operator = self.case.keep == Some(survivor);
        let delta = self.case.delta;
        if self.broken() == Some(survivor) {
            let (disks, name) = (self.disks(), self.name(survivor).to_owned());
            self.say(
                "guard: disk states",
                disks,
                format!("refuse: {name} is Inconsistent and can never be kept"),
            );
            return self.refuse();
        }
        if !by_operator && self.poorer(survivor) {
            let (disks, name) = (self.disks(), self.name(survivor).to_owned());
            let conclusion =
                format!("{name}'s disk is the poorer one: no policy overwrites the better one with it");
            self.say("guard: disk states", disks, conclusion);
            self.hint_at_the_better_disk();
            return self.hold();
        }
        if delta.unreadable(survivor) > 0 {
            let evidence =
                format!("{} could not be read on {}", human(delta.unreadable(survivor)), self.name(survivor));
            self.say("guard: unreadable blocks", evidence, "refuse: the would-be survivor has holes");
            return self.refuse();
        }
        let mut auto = self.settings.auto && !by_operator;
        if delta.unreadable(victim) > 0 {
            let evidence =
                format!("{} could not be read on {}", human(delta.unreadable(victim)), self.name(victim));
            let must_ask = self.settings.salvage == SalvageRule::Required;
            self.say(
                "guard: unreadable blocks",
                evidence,
                if must_ask { "no salvage can hold them: a person must decide" } else { "they are lost" },
            );
            if must_ask && !by_operator {
                return self.hold();
            }
            auto = false;
        }
        if let Some(limit) = self.settings.max_discard {
            let discarded = delta.discarded(victim);
            let rule = format!("max-discard = {}", human(limit));
            let evidence = format!("{} would be discarded on {}", human(discarded), self.name(victim));
            if discarded <= limit {
                self.say(rule, evidence, "within the limit");
            } else if by_operator {
                self.say(rule, evidence, "exceeded, but the operator named the survivor");
            } else {
                self.say(rule, evidence, "exceeded: a person must decide");
                return self.hold();
            }
        }
        self.conditions(survivor, auto);
        Verdict::Heal { survivor, auto, trace: self.trace }
    }

    fn conditions(&mut self, survivor: Side, auto: bool) {
        let victim = self.name(survivor.other()).to_owned();
        match self.settings.salvage {
            SalvageRule::Required => {
                self.say(
                    "salvage = required",
                    "",
                    format!("what {victim} loses is copied and read back first"),
                );
            }
            SalvageRule::Off => self.say(
                "salvage = off",
                "",
                format!("what {victim} loses is NOT kept; needs --no-salvage as well"),
            ),
        }
        let (word, proof) = match self.settings.fence {
            FenceRule::Required => ("required", "a fence agent's or Pacemaker's word"),
            FenceRule::Quorum => ("quorum", "quorum and the peer's expired watchdog"),
            FenceRule::Manual => ("manual", "a person's word"),
        };
        let name = self.name(survivor);
        let (evidence, conclusion) = match self.setting {
            Setting::Devices => (String::new(), format!("before {name} may be primary alone: {proof}")),
            // A healing that runs promotes nobody, and what keeps the victim from writing is its own kernel's word.
            Setting::Running => (
                format!(
                    "both nodes answer, and {victim} must show itself Secondary and alone before it gives up anything"
                ),
                format!(
                    "not asked for this: the plan makes nobody Primary. Once {name} is to become Primary while {victim} is \
                     silent: {proof} (DRBD asks its fence-peer handler)"
                ),
            ),
        };
        self.say(format!("fence = {word}"), evidence, conclusion);
        let consent = match (auto, self.case.keep.is_some()) {
            (true, _) => "may run without asking",
            (false, true) => "asks: the survivor was named by hand",
            (false, false) => "asks for consent",
        };
        self.say(format!("auto = {}", self.settings.auto), "", consent);
    }
}

/// What agrees, and how far that was compared.
fn agreement(delta: &DeltaSummary) -> (String, &'static str) {
    const BY_MARKS: &str =
        "the sides agree as far as DRBD's marks tell; no marks are no proof, --full compares everything";
    let (compared, size) = (human(delta.compared), human(delta.size));
    match (delta.compared, delta.size) {
        (_, 0) => ("nothing differs, no block is marked".to_owned(), BY_MARKS),
        (0, _) => (format!("no block is marked, so nothing was compared: 0 B of {size}"), BY_MARKS),
        (some, all) if some < all => (
            format!("nothing differs in the {compared} of {size} that were compared, no block is marked"),
            BY_MARKS,
        ),
        _ => (
            format!("nothing differs in all {size}, no block is marked"),
            "the sides agree: everything was compared",
        ),
    }
}

/// The value as DRBD spells it.
#[must_use]
pub fn word_rr(value: RrConflict) -> &'static str {
    match value {
        RrConflict::Disconnect => "disconnect",
        RrConflict::CallPriLost => "call-pri-lost",
        RrConflict::Violently => "violently",
        RrConflict::RetryConnect => "retry-connect",
        RrConflict::AutoDiscard => "auto-discard",
    }
}
