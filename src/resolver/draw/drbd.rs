//! From two nodes to a plan for a resource that runs: comparing, deciding, planning, sealing.

use super::{Agreed, Drawn, DrawnPlan, Held, judge_running, salvage_wanted};
use crate::engine::drbd::draw::{Decision, Found, draw};
use crate::engine::drbd::others::in_the_way;
use crate::engine::drbd::pair::LivePair;
use crate::engine::drbd::policies::{to_restore, to_restore_as_told};
use crate::engine::inquiry::InquiryError;
use crate::engine::plans;
use crate::judge::audit::Seen;
use crate::judge::planner::drbd::{reach, would_heal};
use crate::judge::policy::Policy;
use crate::judge::units::losses;
use crate::judge::worse;
use crate::model::delta::{Class, Coverage, Scope};
use crate::model::drbd_live::words::ConnectionState;
use crate::model::node::NodeReport;
use crate::model::plan::drbd::Reach;
use crate::model::policy::Settings;
use crate::model::shell::shell_word;
use crate::model::side::{Pair, Side};
use crate::model::verdict::{Reason, Trace, Verdict};
use crate::ports::progress::Progress;
use crate::resolver::access::{Access, Choice, settings};
use crate::resolver::both::Both;
use crate::resolver::desk::{Desk, refuse_while_open};
use crate::resolver::failure::{Failure, Kind};
use crate::resolver::in_use::{InUse, in_use};
use crate::resolver::turns::Share;
use crate::resolver::volumes::{Compared, How, compare_all};

/// What drawing needs, the same for every resource.
#[derive(Clone, Copy)]
pub struct Drawing<'d> {
    /// Both nodes.
    pub both: &'d Both,
    /// The state directory.
    pub desk: &'d Desk,
    /// How to read.
    pub access: &'d Access,
    /// What to keep.
    pub choice: &'d Choice,
    /// The policy file, if one was named.
    pub policy: Option<&'d Policy>,
    /// What both nodes told of everything, if they were asked.
    pub reports: Option<&'d Pair<NodeReport>>,
}

/// A resource that a plan may be drawn for: the two stand apart, and what `--keep` says has a meaning.
pub struct Ready {
    pair: LivePair,
    keep: Option<Side>,
    /// Who uses the victim, where `--keep` says which one it is.
    pub in_use: Option<InUse>,
}

impl Drawing<'_> {
    /// What is known before anything is compared.
    ///
    /// # Errors
    /// There is no such node, or the two are connected.
    pub fn ready(&self, pair: LivePair) -> Result<Ready, Failure> {
        let keep = self.choice.keep_side(&pair.names)?;
        must_be_apart(&pair)?;
        let in_use = keep.map(|keep| in_use(self.both, &pair, keep.other()));
        Ok(Ready { pair, keep, in_use })
    }

    /// Compares all volumes, decides, plans, seals; keeps the plan in the state directory.
    ///
    /// # Errors
    /// Anything that keeps a plan from being drawn.
    pub fn draw(&self, ready: Ready, share: Share, progress: &dyn Progress) -> Result<Drawn, Failure> {
        let Drawing { both, desk, access, choice, policy, reports } = *self;
        let Ready { pair, keep, in_use: asked } = ready;
        let settings = settings(policy, &pair.resource);
        let mut compared = Vec::new();
        let how = How {
            settings: &settings,
            full: choice.full,
            believe: access.believe,
            state_dir: None,
            progress,
            share,
        };
        compare_all(both, &pair, how, |volume| {
            compared.push(volume);
            Ok(())
        })
        .map_err(|failure| as_drbd_documents_it(failure, &pair, keep))?;
        for volume in &compared {
            let sources = volume.sight.evidence.as_ref().map(|seen| &seen.source);
            refuse_while_open(sources, &*desk.store, &desk.journal, &[])?;
        }
        let covered = coverage(&compared);
        let (survivor, auto, trace) = match decide_all(&settings, &compared, keep) {
            Decided::Heal { survivor, auto, trace } => (survivor, auto, trace),
            Decided::Agree(trace) => return Ok(Drawn::Agree(Agreed { trace, seen: covered })),
            Decided::Held(verdict) => {
                let (names, keepable) = (pair.names.clone(), keepable(&compared));
                return Ok(Drawn::Held(Box::new(Held { verdict, names, keepable, seen: covered })));
            }
        };
        if let Some(why) = in_the_way(&pair, survivor) {
            let next = why.what_to_type(&pair.resource);
            return Err(Failure::new(Kind::NotFenced, why).hint(next));
        }
        refuse_what_drbd_would_not_do(both, &pair, &compared, survivor)?;
        refuse_what_cannot_be_read(&pair, &compared)?;
        refuse_what_nobody_marked(both, &pair, &compared, survivor)?;
        let salvage = salvage_wanted(&settings, choice)?;
        let restore = match reports {
            Some(reports) => to_restore_as_told(reports, &pair),
            None => to_restore(both.asked(), &pair),
        };
        let peer = both.peer().to_string();
        let decision = Decision { peer, survivor, restore, salvage, full: choice.full, trace };
        let found = compared
            .iter()
            .map(|volume| Found {
                volume: &volume.volume,
                sight: &volume.sight,
                delta: &volume.found.delta,
                losses: losses(&volume.found.units, survivor),
                replicas: volume.replicas(),
            })
            .collect();
        let plan = draw(&pair, found, decision, share.threads, progress).map_err(Failure::evidence)?;
        both.still_there()?;
        let seen: Vec<Seen<'_>> = compared
            .iter()
            .map(|volume| Seen::of_replicas(&volume.sight.evidence, &volume.found.delta))
            .collect();
        let sealed = plans::seal_healing(plan, &seen).map_err(Failure::internal)?;
        plans::keep(&*desk.store, &sealed).map_err(Failure::internal)?;
        let in_use = asked.unwrap_or_else(|| in_use(both, &pair, survivor.other()));
        Ok(Drawn::Sealed(Box::new(DrawnPlan { sealed, auto, in_use: Some(in_use), seen: covered })))
    }
}

/// Unrelated data is not healed; what a person types who knows which node's data is to stay.
fn as_drbd_documents_it(failure: Failure, pair: &LivePair, keep: Option<Side>) -> Failure {
    if !matches!(failure.error.downcast_ref(), Some(InquiryError::Unrelated { .. })) {
        return failure;
    }
    let r = &pair.resource;
    let (keep, lose) = match keep {
        Some(side) => (pair.names[side].as_str(), pair.names[side.other()].as_str()),
        None => ("the node whose data stays", "the other node"),
    };
    failure.hint(format!(
        "if {keep}'s data is to stay and EVERYTHING that {lose} holds may go (nothing is kept of it: copy its disk first): on {lose} \
         `drbdadm down {r} && drbdadm create-md {r} && drbdadm up {r}`, on {keep} `drbdadm adjust {r}`; DRBD then copies the whole volume"
    ))
}

/// Two that are connected are DRBD's to sync.
fn must_be_apart(pair: &LivePair) -> Result<(), Failure> {
    let state = |side: Side| crate::engine::drbd::standing::state(&pair.told[side], &pair.toward[side]);
    if state(Side::A) == ConnectionState::Connected && state(Side::B) == ConnectionState::Connected {
        let resource = &pair.resource;
        return Err(Failure::evidence(anyhow::anyhow!(
            "{resource} is connected: the two are not in split brain, and DRBD keeps them in sync by itself"
        ))
        .hint(format!(
            "unsplit status {resource} shows what it does; `drbdadm verify {resource}` compares the contents"
        )));
    }
    Ok(())
}

/// How much of all volumes was compared.
fn coverage(compared: &[Compared]) -> Coverage {
    let nothing = Coverage { scope: Scope::Everything, compared: 0, size: 0 };
    compared.iter().fold(nothing, |all, volume| all.and(&volume.found.delta.coverage()))
}

/// The sides that a person may keep of every volume that is not settled: `--discard-my-data` means all of them.
fn keepable(compared: &[Compared]) -> Vec<Side> {
    let seen = compared.iter().map(|volume| &volume.sight);
    worse::keepable_of_all(seen.map(|sight| (sight.disks(), &sight.comparison)))
}

enum Decided {
    Agree(Trace),
    Heal { survivor: Side, auto: bool, trace: Trace },
    Held(Verdict),
}

/// One survivor for the whole connection: DRBD's `--discard-my-data` means all of its volumes.
fn decide_all(settings: &Settings, compared: &[Compared], keep: Option<Side>) -> Decided {
    let mut agreed = None;
    let mut heal: Option<(Side, bool, Trace, u32)> = None;
    for volume in compared {
        match judge_running(settings, &volume.sight, &volume.found, keep) {
            Verdict::Agree { trace } => agreed = agreed.or(Some(trace)),
            Verdict::Heal { survivor, auto, trace } => match &mut heal {
                None => heal = Some((survivor, auto, trace, volume.volume.volume)),
                Some((first, all_auto, _, _)) if *first == survivor => *all_auto &= auto,
                Some((_, _, trace, number)) => {
                    let mut trace = trace.clone();
                    trace.push(
                        "one survivor for a connection",
                        format!("the policy keeps different sides of volume {number} and volume {}", volume.volume.volume),
                        "not decided: --discard-my-data means all volumes of a connection, so a person must name one side (--keep)",
                    );
                    return Decided::Held(Verdict::Hold { trace });
                }
            },
            held => return Decided::Held(held),
        }
    }
    match (heal, agreed) {
        (Some((survivor, auto, trace, _)), _) => Decided::Heal { survivor, auto, trace },
        (None, Some(trace)) => Decided::Agree(trace),
        (None, None) => Decided::Agree(Trace::new(Reason {
            rule: "volumes".to_owned(),
            evidence: String::new(),
            conclusion: "the resource has no volume".to_owned(),
        })),
    }
}

fn refuse_what_drbd_would_not_do(
    both: &Both,
    pair: &LivePair,
    compared: &[Compared],
    survivor: Side,
) -> Result<(), Failure> {
    let names = pair.names.as_ref().map(|name| name.as_str());
    for volume in compared {
        let way = reach(pair.generation, volume.sight.comparison.common_base);
        if let Err(why) = would_heal(volume.sight.lineages.as_ref(), names, survivor, way) {
            let text = format!(
                "{} cannot be healed live with {} kept (volume {}): {why}",
                pair.resource, names[survivor], volume.volume.volume
            );
            let next = by_its_devices(both, pair, volume, survivor, "");
            return Err(Failure::new(Kind::Held, anyhow::Error::msg(text)).hint(next));
        }
    }
    Ok(())
}

/// What heals a volume that DRBD would not heal.
fn by_its_devices(both: &Both, pair: &LivePair, volume: &Compared, survivor: Side, more: &str) -> String {
    let (resource, backing) = (&pair.resource, &volume.volume.backing);
    format!(
        "take {resource} down on both nodes (`drbdadm down {resource}`) and heal its devices: `unsplit resolve {} {} --peer {} --keep {}{more}`",
        shell_word(&backing.a.data),
        shell_word(&backing.b.data),
        shell_word(both.peer().as_str()),
        survivor.word()
    )
}

/// `--full` found blocks that differ and that neither node marks: DRBD, which follows the marks, would leave them as they are and call the
/// two equal.
fn refuse_what_nobody_marked(
    both: &Both,
    pair: &LivePair,
    compared: &[Compared],
    survivor: Side,
) -> Result<(), Failure> {
    for volume in compared {
        let follows_marks = reach(pair.generation, volume.sight.comparison.common_base) == Reach::Bitmaps;
        let unmarked = volume.found.delta.differs_as(Class::Unmarked);
        if let Some(first) = unmarked.first().filter(|_| follows_marks) {
            let text = format!(
                "{} bytes of volume {} differ and neither node marks them, the first at byte {}: DRBD syncs what is marked, and would call the \
                 two equal with these different",
                unmarked.bytes(),
                volume.volume.volume,
                first.start
            );
            let next = by_its_devices(both, pair, volume, survivor, " --full");
            return Err(Failure::new(Kind::Held, anyhow::Error::msg(text)).hint(next));
        }
    }
    Ok(())
}

fn refuse_what_cannot_be_read(pair: &LivePair, compared: &[Compared]) -> Result<(), Failure> {
    for volume in compared {
        if let Some(bad) = volume.found.delta.unreadable.first() {
            return Err(Failure::evidence(anyhow::anyhow!(
                "volume {} cannot be read on {} at byte {}: {}. What cannot be read can be neither kept nor compared",
                volume.volume.volume,
                pair.names[bad.side],
                bad.extent.start,
                bad.why
            )));
        }
    }
    Ok(())
}
