//! Two ends that are not connected: what lies between them, and why.

use super::link::{Seen, trying};
use super::log::{Log, Loop};
use super::messages::sentence;
use super::witness::Witness;
use crate::model::cause::Cause;
use crate::model::drbd::GenerationUuid;
use crate::model::drbd_live::words::{ConnectionState, DiskState};
use crate::model::lineage::{Comparison, Reconnect, Relation};
use crate::model::side::{Pair, Side};
use crate::model::standing::{Class, Finding, LinkVolume, Reason, Source};

/// What is judged.
pub(super) struct Apart<'s, 'w, 'a> {
    pub(super) resource: &'s str,
    pub(super) seen: &'s Seen,
    /// The ends that told and have the resource up.
    pub(super) witness: Pair<Option<&'w Witness<'a>>>,
}

pub(super) fn reason(from: Source, node: Option<&str>, text: impl Into<String>) -> Reason {
    Reason { from, node: node.map(str::to_owned), text: text.into() }
}

impl Apart<'_, '_, '_> {
    fn names(&self) -> Pair<&str> {
        self.seen.link.nodes.as_ref().map(String::as_str)
    }

    fn finding(&self, class: Class, says: String, reasons: Vec<Reason>) -> Finding {
        let nodes = vec![self.seen.link.nodes.a.clone(), self.seen.link.nodes.b.clone()];
        Finding { class, cause: None, says, nodes, volumes: Vec::new(), reasons }
    }

    /// What a kernel said, as a finding.
    fn said(&self, cause: Cause, says: String, reasons: Vec<Reason>) -> Finding {
        Finding { cause: Some(cause), ..self.finding(cause.class(), says, reasons) }
    }

    /// Everything that is wrong between the two.
    pub(super) fn judge(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        found.extend(self.by_relation(Relation::Diverged));
        found.extend(self.by_relation(Relation::Unrelated));
        if found.is_empty() {
            found.extend(self.by_log());
        }
        if found.is_empty() {
            found.push(self.obstacle());
        }
        // Who shakes hands without end is connected by nobody's word.
        if found.iter().all(|finding| finding.class != Class::HandshakeLoop) {
            found.extend(self.left_over());
        }
        found
    }

    fn compared(&self) -> impl Iterator<Item = (&LinkVolume, &Comparison)> {
        self.seen.link.volumes.iter().filter_map(|volume| Some((volume, volume.comparison.as_ref()?)))
    }

    fn by_relation(&self, relation: Relation) -> Option<Finding> {
        let volumes: Vec<_> =
            self.compared().filter(|(_, comparison)| comparison.relation == relation).collect();
        if volumes.is_empty() {
            return None;
        }
        let Pair { a, b } = self.names();
        let (class, says) = match relation {
            Relation::Unrelated => (
                Class::Unrelated,
                format!("DRBD takes {a} and {b} for unrelated data: they may be copies of different things"),
            ),
            _ => {
                (Class::SplitBrain, format!("{a} and {b} both went on by themselves from a common ancestor"))
            }
        };
        let mut reasons = self.states();
        for (volume, comparison) in &volumes {
            reasons.push(self.generations(volume, comparison));
        }
        let line = self.log_line();
        if line.is_none() && !self.any(|state| state == ConnectionState::StandAlone) {
            let text = "DRBD has not compared them yet: it will when they find each other";
            reasons.push(reason(Source::State, None, text));
        }
        reasons.extend(line.map(|(_, _, reason)| reason));
        let mut finding = self.finding(class, says, reasons);
        finding.volumes = volumes.iter().map(|(volume, _)| volume.volume).collect();
        Some(finding)
    }

    fn generations(&self, volume: &LinkVolume, comparison: &Comparison) -> Reason {
        let Pair { a, b } = self.names();
        let uuid = |side: Side, f: fn(&crate::model::lineage::Lineage) -> GenerationUuid| {
            volume.lineages[side].as_ref().map_or(GenerationUuid::UNSET, f)
        };
        let (at_a, at_b) = (uuid(Side::A, |l| l.current), uuid(Side::B, |l| l.current));
        let since = uuid(Side::A, |l| l.bitmap);
        let rule = match comparison.rule {
            Some(rule) => format!("rule {rule}, {}", comparison.name),
            None => comparison.name.clone(),
        };
        let base = match comparison.relation {
            Relation::Diverged if comparison.common_base => format!("; both went on from {since}"),
            Relation::Diverged => "; only an older generation is in common".to_owned(),
            Relation::InSync => "; the same generation, but no content was compared".to_owned(),
            _ => String::new(),
        };
        let text = format!(
            "volume {}: {a} is at {at_a}, {b} at {at_b}{base} ({} by {rule})",
            volume.volume, comparison.result
        );
        reason(Source::Generations, None, text)
    }

    /// What the ends show of the connection.
    fn states(&self) -> Vec<Reason> {
        let names = self.names();
        let told = |side: Side| {
            let state = self.seen.link.state[side]?;
            let role = self.witness[side]?.resource(self.resource)?.info.role;
            let role = role.map(|role| format!(", {role}")).unwrap_or_default();
            Some(reason(Source::State, Some(names[side]), format!("{state}{role}")))
        };
        Side::BOTH.into_iter().filter_map(told).collect()
    }

    fn any(&self, which: impl Fn(ConnectionState) -> bool) -> bool {
        self.seen.link.state.iter().any(|(_, state)| state.is_some_and(&which))
    }

    /// A line in which a kernel said that the two have diverged, and the generation it spoke of is still there.
    fn log_line(&self) -> Option<(Cause, Side, Reason)> {
        let names = self.names();
        Side::BOTH.into_iter().find_map(|side| {
            let witness = self.witness[side]?;
            let currents: Vec<_> = witness
                .resource(self.resource)?
                .devices
                .iter()
                .filter_map(|device| Some((device.volume, device.statistics.current?)))
                .collect();
            let said = witness.log.diverged(self.resource, names[side.other()], &currents)?;
            Some((said.cause, side, reason(Source::Log, Some(names[side]), said.line)))
        })
    }

    /// Only where the generations could not be compared: where they could, they know better than an old line.
    fn by_log(&self) -> Option<Finding> {
        if self.compared().next().is_some() {
            return None;
        }
        let (cause, _, line) = self.log_line()?;
        let Pair { a, b } = self.names();
        let mut reasons = self.states();
        reasons.push(line);
        Some(self.said(cause, sentence(cause, a, b), reasons))
    }

    /// No divergence is known: what keeps them apart?
    fn obstacle(&self) -> Finding {
        let Pair { a, b } = self.names();
        let mut reasons = self.states();
        reasons.extend(self.compared().map(|(volume, comparison)| self.generations(volume, comparison)));
        let stands_alone = self.any(|state| state == ConnectionState::StandAlone);
        if let Some(ids) = &self.seen.node_ids {
            reasons
                .extend(ids.iter().map(|id| reason(Source::Configuration, Some(&id.node), id.says.clone())));
            let says = sentence(Cause::NodeIds, a, b);
            return self.said(Cause::NodeIds, says, reasons);
        }
        let cause = self.log_cause();
        if !stands_alone && let Some(found) = self.looping(cause.as_ref(), &reasons) {
            return found;
        }
        if self.seen.both_primary_refused {
            reasons.push(reason(Source::Configuration, None, "allow-two-primaries is not set on both"));
            let says =
                format!("{a} and {b} are both Primary, and DRBD is not allowed to connect two Primaries");
            return self.finding(Class::TwoPrimaries, says, reasons);
        }
        let settings = matches!(cause, Some((Cause::Settings | Cause::NodeIds, ..)));
        if !self.seen.mismatches.is_empty() && (stands_alone || settings) {
            for mismatch in &self.seen.mismatches {
                let [at_a, at_b] = &mismatch.values;
                let text = format!("{}: `{at_a}` on {a}, `{at_b}` on {b}", mismatch.option);
                reasons.push(reason(Source::Configuration, None, text));
            }
            reasons.extend(cause.filter(|_| settings).map(|(_, _, line)| line));
            let options: Vec<_> = self.seen.mismatches.iter().map(|mismatch| mismatch.option).collect();
            let says = format!("{a} and {b} do not agree on {}", options.join(", "));
            return self.finding(Class::SettingsDiffer, says, reasons);
        }
        if let Some((cause, side, line)) = cause {
            let names = self.names();
            reasons.push(line);
            return self.said(cause, sentence(cause, names[side], names[side.other()]), reasons);
        }
        if stands_alone {
            return self.alone(reasons);
        }
        if self.any(|state| !trying(state)) {
            let says = format!("the connection between {a} and {b} is changing just now");
            return self.finding(Class::Changing, says, reasons);
        }
        // How it was lost: orderly by the other node, or by the network.
        reasons.extend(Side::BOTH.into_iter().flat_map(|side| {
            let names = self.names();
            let log = self.witness[side].map(|witness| &witness.log);
            let line =
                |f: fn(&Log<'_>, &str, &str) -> Option<String>| f(log?, self.resource, names[side.other()]);
            let lines = [
                line(|log, resource, peer| log.lost(resource, peer).map(str::to_owned)),
                line(|log, resource, peer| log.silence(resource, peer).map(str::to_owned)),
            ];
            lines
                .into_iter()
                .flatten()
                .map(|line| reason(Source::Log, Some(names[side]), line))
                .collect::<Vec<_>>()
        }));
        let says = match self.witness {
            Pair { a: Some(_), b: Some(_) } => {
                format!("{a} and {b} look for each other and find nothing: the network between them")
            }
            Pair { a: Some(_), .. } => format!("{a} looks for {b} and finds nothing"),
            _ => format!("{b} looks for {a} and finds nothing"),
        };
        self.finding(Class::NotConnected, says, reasons)
    }

    /// What a kernel said last about why it is not connected. A divergence is not taken from here.
    fn log_cause(&self) -> Option<(Cause, Side, Reason)> {
        let names = self.names();
        Side::BOTH.into_iter().find_map(|side| {
            let said = self.witness[side]?.log.ended(self.resource, names[side.other()])?;
            let other = !matches!(said.cause, Cause::SplitBrain | Cause::Unrelated);
            other.then(|| (said.cause, side, reason(Source::Log, Some(names[side]), said.line)))
        })
    }

    /// Two nodes that shake hands without end, by the log of either. What the log blames otherwise keeps its own name, and
    /// only says how often.
    fn looping(&self, cause: Option<&(Cause, Side, Reason)>, states: &[Reason]) -> Option<Finding> {
        let names = self.names();
        let (side, seen) = Side::BOTH.into_iter().find_map(|side| {
            Some((side, self.witness[side]?.log.looping(self.resource, names[side.other()])?))
        })?;
        let often = reason(Source::Log, Some(names[side]), often(seen));
        let mut reasons = states.to_vec();
        let Pair { a, b } = self.names();
        Some(match cause {
            Some((Cause::SourceNotUpToDate, _, line)) => {
                reasons.extend([line.clone(), often]);
                let (old, good) = self.old_and_good();
                let says = format!(
                    "{a} and {b} shake hands and part again without end: by the generations {} is the source of a resync, but its data \
                     is old, and DRBD skips that resync",
                    names[old]
                );
                let mut found = self.said(Cause::SourceNotUpToDate, says, reasons);
                found.nodes = vec![names[old].to_owned(), names[good].to_owned()];
                found
            }
            Some((cause, by, line)) => {
                reasons.extend([line.clone(), often]);
                self.said(*cause, sentence(*cause, names[*by], names[by.other()]), reasons)
            }
            None => {
                reasons.push(often);
                self.said(Cause::Looping, sentence(Cause::Looping, a, b), reasons)
            }
        })
    }

    /// Of the two: whose data is old, and the other one. Where neither disk says so, the source by the generations is it.
    fn old_and_good(&self) -> (Side, Side) {
        let outdated = |side: &Side| {
            self.seen.link.volumes.iter().any(|volume| volume.disk[*side] == Some(DiskState::Outdated))
        };
        let old = Side::BOTH.into_iter().find(outdated).or_else(|| {
            self.compared().find_map(|(_, found)| match found.relation {
                Relation::Ahead => Some(Side::A),
                Relation::Behind => Some(Side::B),
                _ => None,
            })
        });
        let old = old.unwrap_or(Side::A);
        (old, old.other())
    }

    fn alone(&self, mut reasons: Vec<Reason>) -> Finding {
        let names = self.names();
        let alone = |side: &Side| self.seen.link.state[*side] == Some(ConnectionState::StandAlone);
        let by = Side::BOTH.into_iter().filter(alone).find_map(|side| {
            let line = self.witness[side]?.log.disconnected(self.resource, names[side.other()])?;
            Some((side, line))
        });
        if let Some((side, line)) = by {
            reasons.push(reason(Source::Log, Some(names[side]), line));
            let says = format!("somebody disconnected {} from {}", names[side], names[side.other()]);
            return self.finding(Class::Disconnected, says, reasons);
        }
        let text = "the kernel's log does not say why (any more)";
        reasons.push(reason(Source::Log, None, text));
        let who: Vec<_> = Side::BOTH.into_iter().filter(alone).map(|side| names[side]).collect();
        let (verb, pronoun) = if who.len() == 1 { ("is", "it does") } else { ("are", "they do") };
        let says = format!(
            "{} {verb} StandAlone: {pronoun} not try to connect until told to; nothing says split brain",
            who.join(" and ")
        );
        self.finding(Class::StandAlone, says, reasons)
    }

    /// Equal generations, marked blocks, and a DRBD that would connect them as they are.
    fn left_over(&self) -> Option<Finding> {
        let volumes: Vec<_> = self
            .compared()
            .filter(|(_, comparison)| {
                matches!(comparison.reconnect, Reconnect::Connect { leftover_bits: 1.. })
            })
            .collect();
        let (first, comparison) = volumes.first()?;
        let Pair { a, b } = self.names();
        let says = format!("DRBD takes {a} and {b} as equal, although blocks are marked as different");
        let mut finding =
            self.finding(Class::MarkedButEqual, says, vec![self.generations(first, comparison)]);
        finding.volumes = volumes.iter().map(|(volume, _)| volume.volume).collect();
        Some(finding)
    }
}

/// How often they met, in words.
fn often(seen: Loop) -> String {
    let rounds = u64::try_from(seen.times.saturating_sub(1)).unwrap_or(u64::MAX);
    let seconds = seen.micros / 1_000_000;
    match rounds.saturating_mul(1_000_000).checked_div(seen.micros) {
        Some(rate @ 2..) => format!("{} handshakes, {rate} times a second", seen.times),
        _ => format!("{} handshakes within {} s", seen.times, seconds.max(1)),
    }
}
