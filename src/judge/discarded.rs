//! What DRBD itself discarded, and whether it can be put back as a whole: by what its handlers wrote down before the resync and after
//! it.
//!
//! A healing of unsplit's notes what both devices show when it is over. Here only the node that was overwritten noted anything.
//! That is enough while the two are connected: every write of the peer's reaches this node's disk, too, and is counted there;
//! a peer that wrote while they were apart has another generation. What is left open is the resync itself, in which the peer's
//! writes and DRBD's own are counted together: so the peer must have been Secondary before it and after it, and no more may have
//! been written than there was to sync.

use crate::model::drbd::GenerationUuid;
use crate::model::drbd_live::words::Role;
use crate::model::handled::{Handled, Handler, Outcome, Then, VolumeThen};
use crate::model::id::IncidentId;
use crate::model::size::human;

/// What a resync overwrote and a handler kept; and what this node's device showed when it was over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discarded {
    /// The volume.
    pub volume: u32,
    /// The boot id of this node.
    pub boot: String,
    /// Sectors written to this node's device since it was attached, after the resync.
    pub written: u64,
    /// The generation after the resync.
    pub current: GenerationUuid,
}

/// Bytes of a sector, as the kernel counts writes.
const SECTOR: u64 = 512;

/// Whether all that the resync overwrote is in the salvage, and nothing else was written meanwhile. `events`: oldest first.
///
/// # Errors
/// Why not, or why it cannot be known, in words.
pub fn discarded(events: &[Handled], salvage: &IncidentId) -> Result<Discarded, String> {
    let taken = events
        .iter()
        .position(|event| matches!(&event.did, Outcome::Kept { salvage: kept, .. } if kept == salvage));
    let at = taken.ok_or("the events do not tell of the resync that it was kept from")?;
    let before = &events[at];
    let volume = *before.call.volumes.first().ok_or("DRBD did not name the volume")?;
    covers(&before.did)?;
    let Outcome::Kept { overwritten: Some(overwritten), .. } = before.did else {
        return Err("DRBD did not say how much it was about to overwrite".to_owned());
    };
    let later = events[at + 1..].iter().find(|event| {
        event.call.resource == before.call.resource
            && event.call.volumes.contains(&volume)
            && matches!(event.handler, Handler::BeforeResyncTarget | Handler::AfterResyncTarget)
    });
    let after = match later {
        Some(after) if after.handler == Handler::AfterResyncTarget => after,
        Some(_) => return Err("its resync was interrupted, and began anew".to_owned()),
        None => {
            return Err("the end of its resync was not recorded: it goes on, or `after-resync-target` is not among the \
                        handlers of drbd.conf (packaging/drbd.d/unsplit.res has it)"
                .to_owned());
        }
    };
    let boot = match (&before.boot, &after.boot) {
        (Some(then), Some(now)) if then == now => now.clone(),
        _ => return Err("the node was restarted in the middle of its resync".to_owned()),
    };
    let (began, ended) = (shown(before, volume)?, shown(after, volume)?);
    for (state, _) in [began, ended] {
        let peer = before.call.peer.as_deref().unwrap_or("the peer");
        if state.peer_role != Some(Role::Secondary) || state.role != Some(Role::Secondary) {
            return Err(format!(
                "{peer} may have been in use while its data was copied here: what it wrote then is newer than what was kept"
            ));
        }
    }
    let counted = |volume: &VolumeThen| volume.written.ok_or("the kernel's count of writes was not recorded");
    let (first, last) = (counted(began.1)?, counted(ended.1)?);
    let written =
        last.checked_sub(first).ok_or("the device was attached anew in the middle of its resync")?;
    if written.saturating_mul(SECTOR) > overwritten {
        return Err(format!(
            "{} were written here while {} were to be synced: somebody else wrote, too",
            human(written.saturating_mul(SECTOR)),
            human(overwritten)
        ));
    }
    let current = ended.1.current.ok_or("the generation after the resync was not recorded")?;
    Ok(Discarded { volume, boot, written: last, current })
}

/// What only the peer had written was overwritten here, too. Without it, half of one and half of the other would stand together.
fn covers(did: &Outcome) -> Result<(), String> {
    match did {
        Outcome::Kept { whole: true, .. } => Ok(()),
        Outcome::Kept { bytes, overwritten: Some(overwritten), .. } if overwritten <= bytes => Ok(()),
        Outcome::Kept { bytes, overwritten, .. } => Err(format!(
            "it holds the {} that this node wrote alone, and the resync overwrote {}: what stood here where only the peer had written is \
             not in it, so both would be mixed",
            human(*bytes),
            overwritten.map_or_else(|| "more, perhaps".to_owned(), human)
        )),
        _ => Err("nothing was kept".to_owned()),
    }
}

fn shown(event: &Handled, volume: u32) -> Result<(&Then, &VolumeThen), String> {
    let then = event
        .then
        .as_ref()
        .map_err(|why| format!("what DRBD showed at {} is not known: {why}", event.handler))?;
    let volume = then.volumes.iter().find(|known| known.volume == volume);
    Ok((then, volume.ok_or_else(|| format!("the volume was not seen at {}", event.handler))?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::handled::Call;
    use crate::model::seen::Stamp;

    const NAME: &str = "resync-r0-1-whole-20261121-031502-4711";

    fn event(handler: Handler, did: Outcome, written: u64) -> Handled {
        let volume = VolumeThen {
            volume: 1,
            minor: Some(1),
            disk: None,
            peer_disk: None,
            replication: None,
            current: Some(GenerationUuid(0xABCD_0000)),
            bitmap: None,
            history: Vec::new(),
            out_of_sync: None,
            written: Some(written),
        };
        let then = Then {
            role: Some(Role::Secondary),
            connection: None,
            peer_role: Some(Role::Secondary),
            volumes: vec![volume],
        };
        Handled {
            at: Stamp(0),
            host: "node2".to_owned(),
            boot: Some("one".to_owned()),
            handler,
            call: Call { resource: Some("r0".to_owned()), volumes: vec![1], ..Call::default() },
            then: Ok(then),
            did,
            exit: 0,
        }
    }

    fn kept(bytes: u64, whole: bool, overwritten: Option<u64>) -> Outcome {
        Outcome::Kept { salvage: IncidentId::new(NAME).unwrap(), bytes, whole, overwritten }
    }

    fn story() -> Vec<Handled> {
        vec![
            event(Handler::InitialSplitBrain, Outcome::Recorded, 10),
            event(Handler::BeforeResyncTarget, kept(1 << 20, true, Some(8192)), 10),
            event(Handler::AfterResyncTarget, Outcome::Recorded, 26),
        ]
    }

    fn asked(events: &[Handled]) -> Result<Discarded, String> {
        discarded(events, &IncidentId::new(NAME).unwrap())
    }

    type Spoil = fn(&mut Vec<Handled>);

    #[test]
    fn what_was_kept_whole_and_left_alone_can_be_put_back() {
        let current = GenerationUuid(0xABCD_0000);
        let wanted = Discarded { volume: 1, boot: "one".to_owned(), written: 26, current };
        assert_eq!(asked(&story()), Ok(wanted.clone()));
        // What this node wrote is all that was overwritten.
        let mut events = story();
        events[1].did = kept(8192, false, Some(8192));
        assert_eq!(asked(&events), Ok(wanted));
    }

    #[test]
    fn whatever_is_not_proven_is_refused() {
        let spoils: [(Spoil, &str); 13] = [
            (|all| all[1].did = kept(4096, false, Some(8192)), "so both would be mixed"),
            (|all| all[1].did = kept(4096, false, None), "so both would be mixed"),
            (|all| all[1].did = kept(1 << 20, true, None), "how much"),
            (|all| drop(all.pop()), "was not recorded"),
            (|all| all[2].handler = Handler::BeforeResyncTarget, "began anew"),
            (|all| all[2].call.volumes = vec![0], "was not recorded"),
            (|all| all[2].boot = Some("two".to_owned()), "restarted"),
            (|all| all[1].boot = None, "restarted"),
            (|all| all[2].then.as_mut().unwrap().peer_role = Some(Role::Primary), "in use"),
            (|all| all[1].then.as_mut().unwrap().peer_role = None, "in use"),
            (|all| all[2].then.as_mut().unwrap().volumes[0].written = None, "count of writes"),
            (|all| all[2].then.as_mut().unwrap().volumes[0].written = Some(27), "somebody else wrote"),
            (|all| all[2].then.as_mut().unwrap().volumes[0].written = Some(9), "attached anew"),
        ];
        for (spoil, says) in spoils {
            let mut events = story();
            spoil(&mut events);
            let why = asked(&events).unwrap_err();
            assert!(why.contains(says), "{says}: {why}");
        }
        let other = IncidentId::new("resync-r0-1-20261121-031502-1").unwrap();
        assert!(discarded(&story(), &other).unwrap_err().contains("do not tell"));
    }
}
