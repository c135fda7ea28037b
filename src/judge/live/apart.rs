//! Two ends that are not connected: what lies between them, and why.

use super::link::{Seen, trying};
use super::witness::Witness;
use crate::model::drbd::GenerationUuid;
use crate::model::drbd_live::words::ConnectionState;
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
        Finding { class, says, nodes, volumes: Vec::new(), reasons }
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
        found.extend(self.left_over());
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
                format!("{a} and {b} have no generation in common: they may be copies of different things"),
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
        reasons.extend(line.map(|(_, reason)| reason));
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
    fn log_line(&self) -> Option<(Class, Reason)> {
        let names = self.names();
        Side::BOTH.into_iter().find_map(|side| {
            let witness = self.witness[side]?;
            let currents: Vec<_> = witness
                .resource(self.resource)?
                .devices
                .iter()
                .filter_map(|device| Some((device.volume, device.statistics.current?)))
                .collect();
            let cause = witness.log.diverged(self.resource, names[side.other()], &currents)?;
            Some((cause.class, reason(Source::Log, Some(names[side]), cause.line)))
        })
    }

    /// Only where the generations could not be compared: where they could, they know better than an old line.
    fn by_log(&self) -> Option<Finding> {
        if self.compared().next().is_some() {
            return None;
        }
        let (class, line) = self.log_line()?;
        let Pair { a, b } = self.names();
        let says = match class {
            Class::Unrelated => format!("{a} and {b} have no generation in common, as the kernel found"),
            _ => format!("{a} and {b} both went on by themselves, as the kernel found when they met"),
        };
        let mut reasons = self.states();
        reasons.push(line);
        Some(self.finding(class, says, reasons))
    }

    /// No divergence is known: what keeps them apart?
    fn obstacle(&self) -> Finding {
        let Pair { a, b } = self.names();
        let mut reasons = self.states();
        reasons.extend(self.compared().map(|(volume, comparison)| self.generations(volume, comparison)));
        let stands_alone = self.any(|state| state == ConnectionState::StandAlone);
        if self.seen.both_primary_refused {
            reasons.push(reason(Source::Configuration, None, "allow-two-primaries is not set on both"));
            let says =
                format!("{a} and {b} are both Primary, and DRBD is not allowed to connect two Primaries");
            return self.finding(Class::TwoPrimaries, says, reasons);
        }
        let cause = self.log_cause();
        let settings = matches!(cause, Some((Class::SettingsDiffer, _)));
        if !self.seen.mismatches.is_empty() && (stands_alone || settings) {
            for mismatch in &self.seen.mismatches {
                let [at_a, at_b] = &mismatch.values;
                let text = format!("{}: `{at_a}` on {a}, `{at_b}` on {b}", mismatch.option);
                reasons.push(reason(Source::Configuration, None, text));
            }
            reasons.extend(cause.filter(|_| settings).map(|(_, line)| line));
            let options: Vec<_> = self.seen.mismatches.iter().map(|mismatch| mismatch.option).collect();
            let says = format!("{a} and {b} do not agree on {}", options.join(", "));
            return self.finding(Class::SettingsDiffer, says, reasons);
        }
        if let Some((class, line)) = cause {
            reasons.push(line);
            return self.finding(class, explained(class, a, b), reasons);
        }
        if stands_alone {
            return self.alone(reasons);
        }
        if self.any(|state| !trying(state)) {
            let says = format!("the connection between {a} and {b} is changing just now");
            return self.finding(Class::Changing, says, reasons);
        }
        // How it was lost: orderly by the other node, or by the network.
        reasons.extend(Side::BOTH.into_iter().filter_map(|side| {
            let names = self.names();
            let line = self.witness[side]?.log.lost(self.resource, names[side.other()])?;
            Some(reason(Source::Log, Some(names[side]), line))
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
    fn log_cause(&self) -> Option<(Class, Reason)> {
        let names = self.names();
        Side::BOTH.into_iter().find_map(|side| {
            let cause = self.witness[side]?.log.ended(self.resource, names[side.other()])?;
            let other = !matches!(cause.class, Class::SplitBrain | Class::Unrelated);
            other.then(|| (cause.class, reason(Source::Log, Some(names[side]), cause.line)))
        })
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

/// A cause from the log, in a sentence.
fn explained(class: Class, a: &str, b: &str) -> String {
    match class {
        Class::SettingsDiffer => format!("the settings of {a} and {b} do not fit together"),
        Class::TwoPrimaries => format!("{a} and {b} were both Primary when they met, which is not allowed"),
        Class::Authentication => format!("{a} and {b} do not have the same shared-secret"),
        Class::AddressInUse => {
            format!("an address or port of the connection between {a} and {b} cannot be used")
        }
        Class::VersionsDiffer => format!("the DRBD versions of {a} and {b} do not understand each other"),
        Class::SizesDiffer => format!("the backing devices of {a} and {b} do not fit: one is too small"),
        Class::HandlerFailed => format!("a handler failed, and DRBD does not connect {a} and {b} without it"),
        Class::ResyncConflict => {
            format!("a resync between {a} and {b} would overwrite a Primary, which rr-conflict forbids")
        }
        _ => format!("{a} and {b} are not connected"),
    }
}
