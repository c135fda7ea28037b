//! Connecting with `--discard-my-data`, and watching the resync. DRBD may do something at any moment: each decision is made on
//! what both nodes tell just then.

use super::Context;
use super::cause::{forbade, last_words};
use super::pair::look;
use super::run::Execution;
use super::standing::{Standing, standing, state};
use crate::engine::incident::Obstacle;
use crate::model::drbd_live::Generation;
use crate::model::drbd_live::words::ConnectionState;
use crate::model::node::{ConnectAs, LogLine, NodeAct};
use crate::model::plan::Plan;
use crate::model::plan::drbd::{DrbdPlan, Reach};
use crate::model::seen::{End, Stamp, Why};
use crate::model::side::{Pair, Side};
use crate::ports::node::Node;
use crate::proof::Permit;
use std::time::Duration;

/// How often the two are told to connect. 8.4 forgets the discard flag with each attempt that fails for another reason.
const ATTEMPTS: u32 = 4;

/// What a kernel says when both ends offer to give up their data.
const BOTH_DISCARD: &str = "incompatible discard-my-data settings";

fn both_discard(plan: &Plan) -> String {
    let (resource, keep, lose) = (&plan.resource, &plan.names[plan.survivor], &plan.names[plan.victim()]);
    format!(
        "{keep}, whose data is to be kept, was told before to discard it (`connect --discard-my-data`, by hand or by a healing that was given \
         up), and DRBD remembers that: it connects nobody while {lose} is told so, too. On {keep} `drbdadm down {resource} && drbdadm up \
         {resource}` takes it back"
    )
}

impl Execution<'_, '_> {
    pub(super) fn invalidate(&mut self, permit: &Permit<'_>) -> End {
        let (pair, standing) = match self.standing() {
            Ok(found) => found,
            Err(end) => return end,
        };
        if !matches!(standing, Standing::Apart(_)) {
            return End::AlreadySo;
        }
        let still = match self.still(&pair) {
            Ok(still) => still,
            Err(end) => return end,
        };
        let Some(kept) = self.kept.clone() else { return self.nothing_kept() };
        if let Err(end) = self.all_as_drawn(&pair) {
            return end;
        }
        let victim = self.plan.victim();
        let wanted: Vec<(u32, u32)> = self
            .plan
            .volumes()
            .filter(|volume| volume.ground.reach == Reach::Invalidate)
            .map(|volume| (volume.number, volume.ground.minors[victim]))
            .collect();
        for (volume, minor) in wanted {
            self.armed = true;
            let end = self.victim().invalidate(volume, minor, &still, &kept, permit);
            if let Err(end) = self.acted(Obstacle::Device, end) {
                return end;
            }
        }
        End::Done
    }

    fn nothing_kept(&mut self) -> End {
        self.stopped(Obstacle::Salvage, "no verified copy of the victim exists")
    }

    /// Until the two have shaken hands in the plan's direction. A victim that waits in vain does not go on waiting with the word
    /// to give up its data: whoever connects the survivor later would set it off.
    pub(super) fn reconnect(&mut self, permit: &Permit<'_>) -> End {
        let end = self.try_to_reconnect(permit);
        let with_cause = |why: Why| {
            // The attempts before this one, of which the one that stopped may know nothing.
            let said = self.why_ended().filter(|said| !why.0.contains(said.as_str()));
            said.map_or(why.0.clone(), |said| format!("{why}. Since it began to connect: {said}"))
        };
        match end {
            End::NotDone(why) if self.armed => {
                End::NotDone(Why(format!("{}{}", with_cause(why), self.disarm(permit))))
            }
            End::Unknown(why) if self.armed => {
                End::Unknown(Why(format!("{}{}", with_cause(why), self.disarm(permit))))
            }
            other => other,
        }
    }

    fn disarm(&mut self, permit: &Permit<'_>) -> String {
        let victim = self.plan.victim();
        let name = self.plan.names[victim].clone();
        let nodes = self.context.nodes;
        match look(nodes.map(|node| node as &dyn Node), &self.plan.resource) {
            Ok(pair)
                if matches!(
                    standing(pair.told.as_ref(), &pair.toward, self.plan.survivor),
                    Standing::Apart(_)
                ) => {}
            // DRBD is at work: then it is not interrupted.
            Ok(_) => return String::new(),
            Err(_) => {
                let resource = &self.plan.resource;
                return format!(
                    ". {name} may wait with --discard-my-data: it is then overwritten as planned as soon as the other node connects. \
                     `drbdadm down {resource}` and `drbdadm up {resource}` there take that back"
                );
            }
        }
        match self.victim().act(&NodeAct::Disconnect(self.plan.ground.toward[victim].clone()), permit) {
            End::Done | End::AlreadySo => {
                format!(". {name} is disconnected again.{}", carried_word(self.plan).unwrap_or_default())
            }
            End::NotDone(why) | End::Unknown(why) => format!(
                ". {name} could not be disconnected again ({why}): it waits with --discard-my-data, and is overwritten as planned as \
                 soon as the other node connects"
            ),
        }
    }

    fn try_to_reconnect(&mut self, permit: &Permit<'_>) -> End {
        let mut last = String::new();
        for attempt in 0..ATTEMPTS {
            let standing = match self.standing() {
                Ok((_, standing)) => standing,
                Err(end) => return end,
            };
            match standing {
                Standing::Resyncing { .. } | Standing::Joined => {
                    return if attempt == 0 { End::AlreadySo } else { End::Done };
                }
                Standing::Backwards { volume } => return self.stop_backwards(volume, permit),
                Standing::Apart(_) => {}
            }
            let before = self.log_ends();
            self.heard.get_or_insert(before);
            match self.connect_both(permit) {
                Ok(()) => {}
                Err(end) => return end,
            }
            match self.wait_for_handshake() {
                Ok(Standing::Backwards { volume }) => return self.stop_backwards(volume, permit),
                Ok(Standing::Apart(states)) => {
                    last = format!(
                        "{} is {}, {} is {}",
                        self.plan.names.a, states.a, self.plan.names.b, states.b
                    );
                    let logs = self.logs();
                    // The next attempt would end the same way.
                    if let Some(handler) = forbade(self.plan, &logs, &before) {
                        let why = format!("the resync did not begin: {}", handler.words(self.plan));
                        return self.stopped(Obstacle::Busy, why);
                    }
                    let said = last_words(self.plan, &logs, &before);
                    if said.contains(BOTH_DISCARD) {
                        let why = both_discard(&self.plan);
                        return self.stopped(Obstacle::Busy, why);
                    }
                    last.push_str(&said);
                }
                Ok(_) => return End::Done,
                Err(end) => return end,
            }
        }
        let why = format!("the two nodes did not connect in {ATTEMPTS} attempts: {last}");
        self.stopped(Obstacle::Busy, why)
    }

    /// What both kernels logged lately; `None` of a node that cannot be asked.
    fn told_logs(&self) -> Pair<Option<Vec<LogLine>>> {
        let nodes = self.context.nodes;
        let ask = |side: Side| nodes[side].log().ok().and_then(Result::ok);
        std::thread::scope(|scope| {
            let b = scope.spawn(|| ask(Side::B));
            Pair::new(ask(Side::A), b.join().unwrap_or_default())
        })
    }

    fn logs(&self) -> Pair<Vec<LogLine>> {
        self.told_logs().map(Option::unwrap_or_default)
    }

    /// Up to where the kernels have logged. Of one that cannot be asked now nothing counts as new later.
    fn log_ends(&self) -> Pair<u64> {
        self.told_logs().map(|lines| lines.map_or(u64::MAX, |lines| lines.last().map_or(0, |line| line.at)))
    }

    /// A handler that forbade the resync, or else what the kernels said since this run began to connect.
    fn why_ended(&self) -> Option<String> {
        let before = self.heard.as_ref()?;
        let logs = self.logs();
        match forbade(self.plan, &logs, before) {
            Some(handler) => Some(handler.words(self.plan)),
            None => last_words(self.plan, &logs, before).strip_prefix("; ").map(str::to_owned),
        }
    }

    /// Survivor apart, victim waiting with the flag, survivor connecting: so the first handshake is already the right one. The victim
    /// is looked at before it is told, and again when it waits: a promotion takes the flag back in both generations, so whatever was
    /// written there between the two looks is seen, and whatever is written later is not overwritten.
    fn connect_both(&mut self, permit: &Permit<'_>) -> Result<(), End> {
        let (victim, survivor) = (self.plan.victim(), self.plan.survivor);
        let apart =
            self.survivor().act(&NodeAct::Disconnect(self.plan.ground.toward[survivor].clone()), permit);
        self.acted(Obstacle::Busy, apart)?;
        let apart = self.victim().act(&NodeAct::Disconnect(self.plan.ground.toward[victim].clone()), permit);
        self.acted(Obstacle::Busy, apart)?;
        let pair = self.look()?;
        let still = self.still(&pair)?;
        let Some(kept) = self.kept.clone() else { return Err(self.nothing_kept()) };
        self.all_as_drawn(&pair)?;
        self.armed = true;
        let end = self.victim().discard(&self.plan.ground.toward[victim], &still, &kept, permit);
        self.acted(Obstacle::Busy, end)?;
        let waiting = self.look()?;
        self.all_as_drawn(&waiting)?;
        let toward = self.plan.ground.toward[survivor].clone();
        let end = self.survivor().act(&NodeAct::Connect { toward, how: ConnectAs::Survivor }, permit);
        self.acted(Obstacle::Busy, end)
    }

    /// Waits while at least one end still tries.
    fn wait_for_handshake(&mut self) -> Result<Standing, End> {
        let (patience, pause) = (self.context.patience, self.context.pause);
        let mut waited = Duration::ZERO;
        loop {
            let (pair, standing) = self.standing()?;
            let Standing::Apart(_) = &standing else { return Ok(standing) };
            let alone = |side: Side| {
                state(&pair.told[side], &self.plan.ground.toward[side]) == ConnectionState::StandAlone
            };
            if alone(Side::A) || alone(Side::B) || waited >= patience.connect {
                return Ok(standing);
            }
            pause(patience.look);
            waited += patience.look;
        }
    }

    /// DRBD overwrites the node whose data is to be kept: both are told to stop, at once.
    pub(super) fn stop_backwards(&mut self, volume: u32, permit: &Permit<'_>) -> End {
        let mut stopped = Vec::new();
        for side in Side::BOTH {
            let toward = self.plan.ground.toward[side].clone();
            let end = self.context.nodes[side].act(&NodeAct::Disconnect(toward), permit);
            stopped.push(match end {
                End::Done | End::AlreadySo => format!("{} is disconnected", self.plan.names[side]),
                End::NotDone(why) | End::Unknown(why) => {
                    format!("{} could NOT be disconnected ({why})", self.plan.names[side])
                }
            });
        }
        self.stopped(
            Obstacle::Verify,
            format!(
                "DRBD began to overwrite volume {volume} of {}, whose data is to be kept. {}. What was overwritten until then is the other \
                 node's data; compare them with `unsplit diff`",
                self.plan.names[self.plan.survivor],
                stopped.join(", ")
            ),
        )
    }

    /// Watches DRBD overwrite the victim, to the end. A lost replication link is DRBD's to mend; a refusal is not.
    pub(super) fn resync(&mut self, permit: &Permit<'_>) -> End {
        let (patience, pause) = (self.context.patience, self.context.pause);
        let Context { progress, clock, .. } = self.context;
        let (mut begun, mut best, mut stalled, mut unseen) = (None, u64::MAX, Duration::ZERO, None);
        let mut refusals = 0;
        let end = loop {
            let standing = match self.standing() {
                Ok((_, standing)) => standing,
                Err(End::NotDone(why))
                    if unseen_is_bearable(&mut unseen, clock.now(), patience.stall, patience.look) =>
                {
                    tracing::debug!(%why, "a node cannot be asked");
                    pause(patience.look);
                    continue;
                }
                Err(End::NotDone(why)) => {
                    break End::Unknown(Why(format!(
                        "{why}. The resync, if it runs, goes on by itself; `unsplit status {}` on either node shows it",
                        self.plan.resource
                    )));
                }
                Err(other) => break other,
            };
            unseen = None;
            match standing {
                Standing::Joined => break End::Done,
                Standing::Backwards { volume } => break self.stop_backwards(volume, permit),
                Standing::Resyncing { left } => {
                    if begun.is_none() && left > 0 {
                        begun = Some(left);
                        progress.begin("resync", left);
                        best = left;
                    }
                    if left < best {
                        progress.advance(best - left);
                        (best, stalled, refusals) = (left, Duration::ZERO, 0);
                    }
                }
                Standing::Apart(states) => {
                    let refused = [states.a, states.b].contains(&ConnectionState::StandAlone);
                    if refused {
                        refusals += 1;
                        let forbidden =
                            self.heard.as_ref().and_then(|before| forbade(self.plan, &self.logs(), before));
                        if let Some(handler) = forbidden {
                            let why = format!("the resync did not begin: {}", handler.words(self.plan));
                            break self.stopped(Obstacle::Busy, why);
                        }
                        if refusals > ATTEMPTS {
                            let said = self
                                .why_ended()
                                .unwrap_or_else(|| "the kernel's log on both nodes says why".to_owned());
                            let why = format!(
                                "the connection was given up {ATTEMPTS} times before anything was synced: {} is {}, {} is {}; {said}",
                                self.plan.names.a, states.a, self.plan.names.b, states.b
                            );
                            break self.stopped(Obstacle::Busy, why);
                        }
                        match self.reconnect(permit) {
                            End::Done | End::AlreadySo => continue,
                            bad => break bad,
                        }
                    }
                }
            }
            if stalled >= patience.stall {
                let minutes = patience.stall.as_secs().div_ceil(60);
                break End::Unknown(Why(format!(
                    "no progress for {minutes} minutes: {standing:?}. The resync, if it can, goes on by itself; nothing is lost. \
                     `unsplit status {}` shows it",
                    self.plan.resource
                )));
            }
            pause(patience.look);
            stalled += patience.look;
        };
        if begun.is_some() {
            progress.finish();
        }
        end
    }
}

/// DRBD 9.3.3 remembers `--discard-my-data` after an attempt that failed, also over StandAlone, until the node is promoted or the
/// resource taken down (seen in the lab): whoever gives up here must know.
#[must_use]
pub fn carried_word(plan: DrbdPlan<'_>) -> Option<String> {
    let (resource, victim) = (&plan.resource, &plan.names[plan.victim()]);
    (plan.ground.generation == Generation::V9).then(|| {
        format!(
            " DRBD on {victim} may still remember the word to discard its data: the next connect, by whomever, would then overwrite it. \
             `drbdadm down {resource}` and `drbdadm up {resource}` there take that back"
        )
    })
}

/// How long a node could not be asked.
#[derive(Clone, Copy)]
struct Unasked {
    since: Stamp,
    paused: Duration,
}

/// Whether it may be waited a little longer for a node that cannot be asked. Asking in vain takes time, too: a node without power
/// costs the link's whole patience at each attempt.
fn unseen_is_bearable(unasked: &mut Option<Unasked>, now: Stamp, limit: Duration, look: Duration) -> bool {
    let so_far = unasked.unwrap_or(Unasked { since: now, paused: Duration::ZERO });
    *unasked = Some(Unasked { paused: so_far.paused + look, ..so_far });
    let asked = Duration::from_millis(u64::try_from(now.0.saturating_sub(so_far.since.0)).unwrap_or(0));
    so_far.paused.max(asked) < limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_asking_takes_counts() {
        let (limit, look) = (Duration::from_secs(300), Duration::from_millis(300));
        let asks = |each: i64| {
            let (mut unasked, mut now, mut asks) = (None, Stamp(0), 0);
            while unseen_is_bearable(&mut unasked, now, limit, look) {
                now = Stamp(now.0 + each);
                asks += 1;
            }
            asks
        };
        assert_eq!(asks(20_000), 15);
        // A clock that stands still, or goes back, leaves the pauses.
        assert_eq!(asks(0), 1000);
        assert_eq!(asks(-1000), 1000);
    }
}
