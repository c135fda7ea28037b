//! `unsplit undo` of what DRBD itself discarded, by its own policy or by a hand: a handler kept it before the resync. There was no plan;
//! one is drawn from the salvage and what both nodes show now, and goes through the same line as the undo of a healing.

use crate::cli::Cli;
use crate::cli::at_terminal::AtTerminal;
use crate::cli::exit::{Failure, Kind};
use crate::cli::resolve::conclude;
use crate::cli::screen::Screen;
use crate::cli::undo::{UndoArgs, show};
use crate::edge::events;
use crate::edge::terminal::TerminalProgress;
use crate::engine::drbd::draw::{Decision, Found, content_of, draw};
use crate::engine::drbd::pair::LivePair;
use crate::engine::drbd::policies::to_restore;
use crate::engine::drbd::standing::{Standing, standing};
use crate::engine::drbd::undo::{note_healed, untouched, written_since};
use crate::engine::plans;
use crate::engine::salvage::{KeptDisk, OF_A_RESYNC, dir_of, load_manifest, reader};
use crate::engine::undone::undone_by;
use crate::judge::audit::SealedPlan;
use crate::judge::discarded::{Discarded, discarded};
use crate::judge::planner::drbd::draw_undo;
use crate::model::extent::{Extent, ExtentSet};
use crate::model::id::{IncidentId, NodeName};
use crate::model::plan::drbd::Untouched;
use crate::model::policy::Settings;
use crate::model::record::Consent;
use crate::model::salvage::{Manifest, PartKind};
use crate::model::shell::shell_word;
use crate::model::side::{Pair, Side};
use crate::model::size::BLOCK;
use crate::model::verdict::{Reason, Trace};
use crate::ports::disk::{Disk, DiskFault};
use crate::resolver::access::Access;
use crate::resolver::both::Both;
use crate::resolver::desk::{Desk, refuse_while_open};
use crate::resolver::opened::Opened;
use crate::resolver::run;
use crate::resolver::turns::Share;
use crate::resolver::volumes::{Compared, How, compare_all};

/// Bytes compared at once.
const CHUNK: u64 = 4 << 20;

/// The salvage of a handler that a name means.
#[must_use]
pub(in crate::cli) fn named(word: Option<&str>) -> Option<IncidentId> {
    IncidentId::new(word.filter(|word| word.starts_with(OF_A_RESYNC))?).ok()
}

fn refused(kind: Kind, text: String) -> Failure {
    Failure::new(kind, anyhow::Error::msg(text))
}

/// What cannot be put back as a whole can still be looked at.
fn beside(cli: &Cli, id: &IncidentId, why: &str) -> Failure {
    let words = crate::cli::plan::state_dir_words(cli);
    refused(Kind::Evidence, format!("salvage {id} cannot be put back as a whole: {why}"))
        .hint(format!("open it beside, and copy over what is needed: unsplit salvage show {id}{words}"))
}

pub(in crate::cli) fn run(
    cli: &Cli,
    args: &UndoArgs,
    screen: &mut Screen,
    desk: &Desk,
    id: &IncidentId,
) -> Result<u8, Failure> {
    let manifest = load_manifest(&*desk.store, &dir_of(id)).map_err(Failure::evidence)?;
    // Before the peer is asked for.
    proven(cli, desk, id)?;
    let both = reach(cli, args, &manifest, id)?;
    run_on(cli, args, screen, desk, &both, id)
}

fn proven(cli: &Cli, desk: &Desk, id: &IncidentId) -> Result<Discarded, Failure> {
    let incidents = desk.journal.incidents();
    if let Some(by) = undone_by(&*desk.store, &incidents, id).map_err(Failure::internal)? {
        return Err(refused(Kind::Usage, format!("salvage {id} was put back by incident {}", by.id)));
    }
    let told = events::read(&cli.state_dir).map_err(Failure::evidence)?.events;
    discarded(&told, id).map_err(|why| beside(cli, id, &why))
}

/// The same on these nodes, whatever they are.
///
/// # Errors
/// How it ended, unless well.
pub fn run_on(
    cli: &Cli,
    args: &UndoArgs,
    screen: &mut Screen,
    desk: &Desk,
    both: &Both,
    id: &IncidentId,
) -> Result<u8, Failure> {
    let manifest = load_manifest(&*desk.store, &dir_of(id)).map_err(Failure::evidence)?;
    let discarded = &proven(cli, desk, id)?;
    let pair = both.look(&manifest.resource)?;
    let then = alone_since(cli, id, discarded, &pair)?;
    let sealed = drawn(cli, args, desk, both, &pair, id, discarded)?;
    if args.dry_run {
        return show(cli, screen, &format!("Undo of what DRBD discarded ({id}):"), &sealed);
    }
    // What an undo of a healing finds noted: nothing was written since if both devices still show it.
    note_healed(&*desk.store, id, &then).map_err(|why| refused(Kind::Evidence, why))?;
    plans::keep(&*desk.store, &sealed).map_err(Failure::internal)?;
    let how = run::How { threads: args.reading.reading().threads(), no_salvage: false };
    let mut by = AtTerminal::new(cli, screen, desk, true);
    let opened = Opened::Drbd(both.clone());
    let ran = run::start(desk, &mut by, &opened, (&sealed, None), Consent::Operator, how)?;
    conclude(cli, screen, desk, &ran)
}

fn reach(cli: &Cli, args: &UndoArgs, manifest: &Manifest, id: &IncidentId) -> Result<Both, Failure> {
    let Some(peer) = &args.peer else {
        let (survivor, victim) = (&manifest.survivor_name, &manifest.victim_name);
        return Err(Failure::usage(format!(
            "no plan tells how {survivor} is reached, and what {victim} held is written to both nodes"
        ))
        .hint(command(cli, id.as_str(), manifest)));
    };
    let name = |word: &str| NodeName::new(word).map_err(Failure::internal);
    let names = Pair::new(name("a")?, name("b")?);
    let (resource, reading) = (manifest.resource.clone(), args.reading.reading());
    let access = Access::of(names, resource, Some(peer.clone()), reading);
    Both::reach(manifest.resource.as_str(), &access, "undo")
}

/// What both devices are to show from now on; nothing was written since the resync.
fn alone_since(
    cli: &Cli,
    id: &IncidentId,
    discarded: &Discarded,
    pair: &LivePair,
) -> Result<Vec<Pair<Untouched>>, Failure> {
    if standing(pair.told.as_ref(), &pair.toward, Side::B) != Standing::Joined {
        let resource = &pair.resource;
        let why =
            format!("{resource} is not connected and in sync on both nodes, and an undo writes to both");
        return Err(refused(Kind::Evidence, why).hint(format!("unsplit status {resource}")));
    }
    let now = untouched(pair);
    let mut then = now.clone();
    let at = pair.volumes.iter().position(|volume| volume.volume == discarded.volume);
    let at = at.ok_or_else(|| beside(cli, id, &format!("there is no volume {} now", discarded.volume)))?;
    then[at].a = Untouched {
        boot: Some(discarded.boot.clone()),
        written: Some(discarded.written),
        current: Some(discarded.current),
    };
    match written_since(&pair.names, &pair.volumes, &then, &now) {
        Some(why) => Err(beside(cli, id, &format!("{why}, and would be mixed with it"))),
        None => Ok(then),
    }
}

/// The plan: nothing differs between the two nodes, and the salvage tells what is written to both.
fn drawn(
    cli: &Cli,
    args: &UndoArgs,
    desk: &Desk,
    both: &Both,
    pair: &LivePair,
    id: &IncidentId,
    discarded: &Discarded,
) -> Result<SealedPlan, Failure> {
    let (progress, threads) = (TerminalProgress::new(), args.reading.reading().threads());
    let settings = Settings::drbd_defaults();
    let share = Share::whole(threads);
    let how =
        How { settings: &settings, full: false, believe: false, state_dir: None, progress: &progress, share };
    let mut compared: Vec<Compared> = Vec::new();
    compare_all(both, pair, how, |volume| {
        compared.push(volume);
        Ok(())
    })?;
    let store = &*desk.store;
    let mut kept = Vec::new();
    for volume in &compared {
        let sources = volume.sight.evidence.as_ref().map(|seen| &seen.source);
        refuse_while_open(sources, store, &desk.journal, &[])?;
        let here = volume.replicas().a;
        let extents = if volume.volume.volume == discarded.volume {
            let salvage = reader(store, &dir_of(id), PartKind::VictimData).map_err(Failure::evidence)?;
            if salvage.size() != volume.found.delta.size {
                return Err(beside(cli, id, "the volume has another size now"));
            }
            differing(&salvage, here.data()).map_err(Failure::evidence)?
        } else {
            ExtentSet::empty()
        };
        let content = content_of(here, &extents, threads, &progress).map_err(Failure::evidence)?;
        kept.push((extents, content));
    }
    let trace = Trace::new(Reason {
        rule: "discarded by DRBD".to_owned(),
        evidence: format!("salvage {id}"),
        conclusion: format!("{} was overwritten with {}'s data", pair.names.a, pair.names.b),
    });
    let restore = to_restore(both.asked(), pair);
    let decision = Decision {
        peer: both.peer().to_string(),
        survivor: Side::B,
        restore,
        salvage: true,
        full: false,
        trace,
    };
    let found = compared
        .iter()
        .map(|volume| Found {
            volume: &volume.volume,
            sight: &volume.sight,
            delta: &volume.found.delta,
            losses: Vec::new(),
            replicas: volume.replicas(),
        })
        .collect();
    let mut resync = draw(pair, found, decision, threads, &progress).map_err(Failure::evidence)?;
    for (volume, (extents, _)) in resync.volumes.iter_mut().zip(&kept) {
        volume.overwrite = extents.clone();
    }
    both.still_there()?;
    let undo = resync.drbd().map(|resync| draw_undo(resync, id.clone(), kept));
    let undo = undo.ok_or_else(|| Failure::internal(anyhow::anyhow!("the plan is not for what runs")))?;
    plans::seal_undo(undo, &resync).map_err(Failure::internal)
}

/// The blocks of a salvage that stand otherwise on the disk now.
fn differing(kept: &KeptDisk<'_>, now: &dyn Disk) -> Result<ExtentSet, DiskFault> {
    let mut found = ExtentSet::empty();
    for piece in kept.kept().iter().flat_map(|extent| extent.pieces(CHUNK)) {
        let read = |disk: &dyn Disk| {
            let mut bytes = vec![0; usize::try_from(piece.len).unwrap_or(0)];
            disk.read_at(piece.start, &mut bytes).map(|()| bytes)
        };
        let (then, now) = (read(kept)?, read(now)?);
        let block = usize::try_from(BLOCK).unwrap_or(usize::MAX);
        let blocks = then.chunks(block).zip(now.chunks(block));
        for (start, (then, now)) in (piece.start..).step_by(block).zip(blocks) {
            if then != now {
                found.push(Extent { start, len: then.len() as u64 });
            }
        }
    }
    Ok(found)
}

/// The command that puts it back.
#[must_use]
pub(in crate::cli) fn command(cli: &Cli, id: &str, manifest: &Manifest) -> String {
    let peer = shell_word(&format!("ssh:{}", manifest.survivor_name));
    format!("unsplit undo {id} --peer {peer}{}", crate::cli::plan::state_dir_words(cli))
}
