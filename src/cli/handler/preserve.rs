//! before-resync-target: keeps this node's own changes before a resync that DRBD decided by itself overwrites them.

use super::HandlerArgs;
use super::inside::{Job, connection};
use crate::cli::Cli;
use crate::edge::blockdev::{BlockFile, Mode};
use crate::edge::clock::SystemClock;
use crate::edge::drbd::image::ImageReplica;
use crate::edge::events;
use crate::edge::peer::greet::machine_id;
use crate::edge::state_dir::StateDir;
use crate::engine::drbd::ours::{Ours, overwritten_by_us};
use crate::engine::journal::Journal;
use crate::engine::salvage::{
    FOLDER, Label, NOTE, OF_A_RESYNC, PartSource, RESERVE, needed_space, take_moving,
};
use crate::judge::overwritten::{Keep, keep};
use crate::model::drbd::{GenerationUuid, Role};
use crate::model::drbd_live::tree::{Device, Live};
use crate::model::drbd_live::words::{MetaIndex, Role as LiveRole};
use crate::model::evidence::MetadataPlace;
use crate::model::extent::{Extent, ExtentSet};
use crate::model::handled::{Handled, Handler, Outcome, Threatened};
use crate::model::id::{Digest, IncidentId, NodeName, PlanId, ResourceName};
use crate::model::salvage::PartKind;
use crate::model::seen::{Stamp, Why, in_words};
use crate::model::side::Side;
use crate::model::size::human;
use crate::ports::clock::Clock;
use crate::ports::disk::{Disk, DiskFault};
use crate::ports::progress::Silent;
use crate::ports::store::Store;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A split brain belongs to a resync that begins this soon after it was called, by the wall clock.
const JUST_NOW: Duration = Duration::from_secs(900);

/// Keeps what has to be kept.
pub(super) fn preserve(cli: &Cli, args: &HandlerArgs, job: &Job, live: Option<&Live>) -> Outcome {
    attempt(cli, args, job, live).unwrap_or_else(|why| Outcome::NotKept { why: Why(why) })
}

fn attempt(cli: &Cli, args: &HandlerArgs, job: &Job, live: Option<&Live>) -> Result<Outcome, String> {
    let resource = job.call.resource.as_deref().ok_or("DRBD did not name the resource")?;
    let resource = ResourceName::new(resource).map_err(|error| error.to_string())?;
    let volume = job.call.volumes.first().copied().unwrap_or(0);
    match by_a_healing(&cli.state_dir, &resource, volume) {
        None => {}
        Some(Ours::Kept(incident)) => {
            let why = format!("`unsplit resolve` has kept it already, in incident {incident}");
            return Ok(Outcome::NothingToKeep { why: Why(why) });
        }
        Some(Ours::Waived(incident)) => {
            let why = format!("incident {incident} keeps nothing: --no-salvage was said for it");
            return Ok(Outcome::NothingToKeep { why: Why(why) });
        }
    }
    let found = live.and_then(|live| live.resource(resource.as_str()));
    let device = found.and_then(|known| known.devices.iter().find(|device| device.volume == volume));
    let toward = found
        .and_then(|known| connection(known, &job.call))
        .and_then(|connection| connection.peer_devices.iter().find(|peer| peer.volume == volume));
    let primary = found.is_some_and(|known| known.info.role == Some(LiveRole::Primary));

    let replica = open(device, job)?;
    let superblock = replica.superblock().clone();
    let role = if primary { Role::Primary } else { Role::Secondary };
    let marked = replica.marked_toward(job.call.peer_node_id, role).map_err(|error| in_words(&error))?;
    let marked = marked.ok_or("this node's metadata holds no bitmap for that peer")?;
    // An events file that cannot be read says nothing; then more is kept, not less.
    let before = events::read(&cli.state_dir).map(|all| all.events).unwrap_or_default();
    let now = SystemClock.now();
    let current = superblock.current;
    let threatened = Threatened {
        size: replica.size(),
        own: marked.bytes(),
        overwritten: toward.and_then(|peer| peer.out_of_sync_bytes()),
        disk: device.and_then(|device| device.info.disk),
        fresh: current.same(GenerationUuid::JUST_CREATED) || current.same(GenerationUuid::UNSET),
        split: split_just_now(&before, job, resource.as_str(), now),
        settled: settled_before(&before, resource.as_str(), volume),
    };
    let whole = match keep(&threatened) {
        Keep::Nothing(why) => return Ok(Outcome::NothingToKeep { why: why.into() }),
        Keep::Marked => false,
        Keep::Whole => true,
    };
    let all = ExtentSet::whole(replica.size());
    let keeper = Keeper { cli, args, job, resource, volume, replica: &replica, threatened: &threatened, now };
    match keeper.take(if whole { &all } else { &marked }, whole) {
        // Better what is certainly this node's own than nothing.
        Err(why) if whole && marked.bytes() > 0 && marked.bytes() < threatened.size => {
            keeper.take(&marked, false).map_err(|second| format!("{why}; and of what is marked: {second}"))
        }
        end => end,
    }
}

/// The healing at work on this node that overwrites the volume. Where nobody is at work more is kept, not less.
fn by_a_healing(state_dir: &Path, resource: &ResourceName, volume: u32) -> Option<Ours> {
    let store = StateDir::open_read_only(state_dir).ok()?;
    store.at_work()?;
    let story = Journal::read(&store).ok().flatten()?;
    overwritten_by_us(&store, story.incidents.as_slice(), (resource, volume), machine_id().as_deref())
}

/// The replica as DRBD has it open, for reading.
fn open(device: Option<&Device>, job: &Job) -> Result<ImageReplica, String> {
    let options = device.and_then(|device| device.disk_options.as_ref());
    let disk = options
        .and_then(|options| options.backing_device.as_deref())
        .or_else(|| device.and_then(|device| device.info.backing_device.as_deref()))
        .or(job.call.disk.as_deref())
        .ok_or("the backing device is not known")?;
    let open = |path: &str| {
        BlockFile::open(Path::new(path), Mode::ReadOnly).map(Arc::new).map_err(|error| in_words(&error))
    };
    let (metadata, place) = match options.and_then(|options| options.meta_index) {
        None | Some(MetaIndex::Internal) => (None, Some(MetadataPlace::Internal)),
        Some(MetaIndex::Other(number)) => return Err(format!("the metadata's place {number} is not known")),
        Some(external) => {
            let path = options.and_then(|options| options.meta_device.as_deref());
            let path = path.ok_or("the metadata's device is not known")?;
            let place = match external {
                MetaIndex::Slot(slot) => MetadataPlace::IndexedExternal(slot),
                _ => MetadataPlace::FlexibleExternal,
            };
            (Some(open(path)?), Some(place))
        }
    };
    let metadata = metadata.map(|metadata| metadata as Arc<dyn crate::ports::disk::DiskMut>);
    ImageReplica::open(open(disk)?, metadata, place).map_err(|error| in_words(&error))
}

fn of_resource<'e>(events: &'e [Handled], resource: &str) -> impl DoubleEndedIterator<Item = &'e Handled> {
    events.iter().filter(move |event| event.call.resource.as_deref() == Some(resource))
}

/// Whether DRBD called a split brain of the resource, in this boot, and no resync was completed since.
fn split_just_now(events: &[Handled], job: &Job, resource: &str, now: Stamp) -> bool {
    let newest = of_resource(events, resource).rev().find(|event| {
        matches!(event.handler, Handler::InitialSplitBrain | Handler::SplitBrain | Handler::AfterResyncTarget)
    });
    newest.is_some_and(|event| {
        let age = now.0.saturating_sub(event.at.0);
        event.handler != Handler::AfterResyncTarget
            && event.boot == job.boot
            && u128::from(age.unsigned_abs()) < JUST_NOW.as_millis()
    })
}

/// Whether an earlier call for a resync that was never completed settled what was to be kept.
fn settled_before(events: &[Handled], resource: &str, volume: u32) -> bool {
    let newest = of_resource(events, resource).rev().find(|event| {
        event.call.volumes.contains(&volume)
            && matches!(event.handler, Handler::BeforeResyncTarget | Handler::AfterResyncTarget)
    });
    newest.is_some_and(|event| {
        event.handler == Handler::BeforeResyncTarget
            && matches!(event.did, Outcome::Kept { .. } | Outcome::NothingToKeep { .. })
    })
}

struct Keeper<'a> {
    cli: &'a Cli,
    args: &'a HandlerArgs,
    job: &'a Job,
    resource: ResourceName,
    volume: u32,
    replica: &'a ImageReplica,
    threatened: &'a Threatened,
    now: Stamp,
}

impl Keeper<'_> {
    fn take(&self, extents: &ExtentSet, whole: bool) -> Result<Outcome, String> {
        let id = self.name(if whole { "whole-" } else { "" })?;
        let dir = format!("{FOLDER}/{id}");
        let store = StateDir::open_part(&self.cli.state_dir, &dir).map_err(|error| in_words(&error))?;
        let data = self.replica.data();
        let disk = UntilThen { disk: &*data, until: self.job.until };
        let part = PartSource {
            kind: PartKind::VictimData,
            disk: &disk,
            extents,
            virtual_size: self.replica.size(),
            backing: None,
        };
        let needed = needed_space(std::slice::from_ref(&part)).map_err(|error| in_words(&error))?;
        let free = store.free_space().map_err(|error| in_words(&error))?;
        let limit = self.args.max_bytes.unwrap_or(free / 2);
        if needed > limit || needed.saturating_add(RESERVE) > free {
            return Err(format!(
                "{} would be needed in {} ({} are free, the limit is {})",
                human(needed),
                self.cli.state_dir.display(),
                human(free),
                human(limit)
            ));
        }
        take_moving(&store, &dir, &self.label(&id)?, &[part], &Silent).map_err(|error| in_words(&error))?;
        // For people only: the salvage is complete without it.
        let _ = self.note(&store, &dir, extents, whole);
        Ok(Outcome::Kept {
            salvage: id,
            bytes: extents.bytes(),
            whole,
            overwritten: self.threatened.overwritten,
        })
    }

    /// `resync-RESOURCE-VOLUME-TIME-PROCESS`: nobody else's.
    fn name(&self, word: &str) -> Result<IncidentId, String> {
        let seconds = jiff::Timestamp::from_millisecond(self.now.0).map_err(|error| error.to_string())?;
        let time = seconds.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y%m%d-%H%M%S").to_string();
        let resource: String = self.resource.as_str().chars().take(64).collect();
        let process = std::process::id();
        IncidentId::new(&format!("{OF_A_RESYNC}{resource}-{}-{word}{time}-{process}", self.volume))
            .map_err(|error| error.to_string())
    }

    fn label(&self, id: &IncidentId) -> Result<Label, String> {
        let name = |text: Option<&str>, otherwise: &str| {
            let given = text.and_then(|text| NodeName::new(text).ok());
            given.map_or_else(|| NodeName::new(otherwise).map_err(|error| error.to_string()), Ok)
        };
        // No plan asked for it: what stands in its place names the generation that is lost.
        let digest = blake3::hash(format!("{id} {}", self.replica.superblock().current).as_bytes());
        Ok(Label {
            incident: id.clone(),
            plan: PlanId(Digest(*digest.as_bytes())),
            resource: self.resource.clone(),
            victim: Side::A,
            victim_name: name(Some(&self.job.host), "here")?,
            survivor_name: name(self.job.call.peer.as_deref(), "peer")?,
            taken_at: self.now,
        })
    }

    fn note(
        &self,
        store: &dyn Store,
        dir: &str,
        extents: &ExtentSet,
        whole: bool,
    ) -> Result<(), crate::ports::store::StoreFault> {
        let kept = human(extents.bytes());
        let peer = self.job.call.peer.as_deref().unwrap_or("its peer");
        let what = if whole {
            format!("It holds the whole volume ({kept}) as it was on this node.")
        } else {
            format!(
                "It holds every block that this node had changed since it lost the peer ({kept}), and zeros elsewhere. \
                 Blocks that only the peer had changed are not in it: what they held here is what both sides had before they parted."
            )
        };
        let overwritten = self.threatened.overwritten.map_or_else(
            || "DRBD did not say how much it was about to overwrite.".to_owned(),
            |bytes| format!("DRBD was about to overwrite {}.", human(bytes)),
        );
        let text = format!(
            "Taken by DRBD's handler before-resync-target on {}, before {peer}'s data was written over volume {} of {}.\n{what}\n{overwritten}\n\
             While it was copied, {peer} could go on writing: a block that it wrote again in these moments may be its new one.\n",
            self.job.host, self.volume, self.resource
        );
        let path = format!("{dir}/{NOTE}");
        store.create(&path)?;
        store.write_at(&path, 0, text.as_bytes())?;
        store.sync(&path)?;
        store.sync_dir(dir)
    }
}

/// A disk that is read no longer than until then.
struct UntilThen<'d> {
    disk: &'d dyn Disk,
    until: Instant,
}

impl Disk for UntilThen<'_> {
    fn name(&self) -> &str {
        self.disk.name()
    }

    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        if Instant::now() > self.until {
            let source = io::Error::new(io::ErrorKind::TimedOut, "the deadline is over, and DRBD waits");
            let extent = Extent { start: offset, len: buffer.len() as u64 };
            return Err(DiskFault::Io { disk: self.disk.name().to_owned(), act: "read", extent, source });
        }
        self.disk.read_at(offset, buffer)
    }
}
