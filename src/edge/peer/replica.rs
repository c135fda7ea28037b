//! A replica on the peer: the engine's ports by request.

use super::disk::{RemoteDisk, wrong};
use super::session::{Lost, Session};
use super::told::{Told, Trouble};
use crate::format::wire::believe::{Known, Unbelievable};
use crate::format::wire::content::pack;
use crate::format::wire::control::{Courtesy, Opened, Reply, Request, Which};
use crate::model::drbd::{Role, Superblock};
use crate::model::evidence::{Evidence, MetadataPlace, Source, Trust};
use crate::model::extent::ExtentSet;
use crate::model::id::{Digest, NodeName};
use crate::model::plan::images::{MetadataChange, RawBlock};
use crate::model::seen::{End, Stamp, Why};
use crate::ports::channel::ChannelFault;
use crate::ports::disk::{Disk, DiskFault, DiskMut};
use crate::ports::replica::{AreaLeft, FarEnd, Replica, Unseen, WritableReplica};
use crate::proof::Permit;
use crate::proof::preserved::Preserved;
use crate::proof::quiesced::{Hold, Quiesced};
use std::sync::Arc;

/// How a replica over there is to be opened.
#[derive(Debug, Clone)]
pub struct Address {
    /// What the side is called.
    pub name: NodeName,
    /// Path of the data device or image.
    pub data: String,
    /// Path of an external metadata device.
    pub metadata: Option<String>,
    /// Where on it the metadata is, if that is known.
    pub place: Option<MetadataPlace>,
    /// The role that the node had, if not as its metadata says.
    pub role: Option<Role>,
    /// Whether it may be written later.
    pub write: bool,
    /// Why it is taken for a backing device.
    pub trust: Trust,
    /// How to read it.
    pub courtesy: Courtesy,
}

fn unbelievable(why: Unbelievable) -> Unseen {
    Trouble::Unbelievable(why).unseen()
}

/// One side of a pair, on another machine.
pub struct RemoteReplica {
    session: Arc<Session>,
    name: NodeName,
    thing: u32,
    size: u64,
    source: Source,
    identity: String,
    data: RemoteDisk,
    metadata: RemoteDisk,
    known: Known,
    role: Option<Role>,
    /// The session goes on after it.
    closes: bool,
}

impl Drop for RemoteReplica {
    fn drop(&mut self) {
        if self.closes {
            self.session.close(self.thing);
        }
    }
}

impl RemoteReplica {
    /// Opens it beside whatever else the session is used for, and closes it with this value.
    ///
    /// # Errors
    /// [`Trouble`]: the agent says what is wrong with the devices there.
    pub fn beside(session: &Arc<Session>, address: Address) -> Result<RemoteReplica, Trouble> {
        let mut replica = RemoteReplica::open(session, address)?;
        replica.closes = true;
        Ok(replica)
    }

    /// Opens it, for as long as the session lasts.
    ///
    /// # Errors
    /// [`Trouble`]: the agent says what is wrong with the devices there.
    pub fn open(session: &Arc<Session>, address: Address) -> Result<RemoteReplica, Trouble> {
        let Address { name, data, metadata, place, role, write, trust, courtesy } = address;
        let asked = Request::Open { name: name.clone(), data, metadata, place, role, write, trust, courtesy };
        let Opened { thing, size, identity, source, .. } = session.open(asked)?;
        let elsewhere = session.elsewhere();
        let mut source = source.ok_or(Trouble::Nonsense)?;
        let known = session.known(thing).ok_or(Trouble::Nonsense)?;
        let called = |path: &str| format!("{path} on {}", elsewhere.host);
        let disk = |which, path: &str, size| RemoteDisk::new(session, thing, which, called(path), size);
        let data = disk(Which::Data, &source.data, size);
        let metadata = disk(Which::Metadata, &source.metadata, source.metadata_size);
        source.on = Some(elsewhere);
        let session = Arc::clone(session);
        let closes = false;
        Ok(RemoteReplica {
            session,
            name,
            thing,
            size,
            source,
            identity,
            data,
            metadata,
            known,
            role,
            closes,
        })
    }

    /// What its data device is, whatever its path, among those of its machine.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Why nothing more can be asked of it, if the link is lost for good.
    #[must_use]
    pub fn lost(&self) -> Option<Lost> {
        self.session.lost()
    }

    fn ask(&self, request: &Request) -> Result<(Reply, Vec<u8>), Lost> {
        self.session.call(request, &[])
    }

    fn act(&self, request: &Request) -> End {
        match self.ask(request) {
            Ok((Reply::Ended(end), _)) => end,
            Ok((Reply::Fault(fault), _)) => End::NotDone(Why(Trouble::Fault(fault).causes().join(": "))),
            // A lost link says nothing about what the agent still did.
            other => End::Unknown(Why(wrong(other).causes().join(": "))),
        }
    }
}

impl Replica for RemoteReplica {
    fn name(&self) -> &NodeName {
        &self.name
    }

    fn source(&self) -> Source {
        self.source.clone()
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn superblock(&self) -> Result<Superblock, Unseen> {
        match self.ask(&Request::Superblock { thing: self.thing }) {
            Ok((Reply::Superblock(superblock), _)) => {
                self.known.superblock(&superblock).map_err(unbelievable)?;
                Ok(*superblock)
            }
            other => Err(wrong(other).unseen()),
        }
    }

    fn superblock_block(&self) -> Result<RawBlock, Unseen> {
        match self.ask(&Request::SuperblockBlock { thing: self.thing }) {
            Ok((Reply::Bytes { .. }, block)) => match block.try_into() {
                Ok(block) => Ok(RawBlock(block)),
                Err(_) => Err(Trouble::Nonsense.unseen()),
            },
            other => Err(wrong(other).unseen()),
        }
    }

    fn area_digest(&self) -> Result<Digest, Unseen> {
        match self.ask(&Request::AreaDigest { thing: self.thing }) {
            Ok((Reply::Digest(digest), _)) => Ok(digest),
            other => Err(wrong(other).unseen()),
        }
    }

    fn observe(&self, peer: &Superblock, now: Stamp) -> Result<Evidence, Unseen> {
        let request = Request::Observe { thing: self.thing, peer: Box::new(peer.clone()), now };
        match self.ask(&request) {
            Ok((Reply::Evidence(seen), _)) => {
                self.known.evidence(&seen, peer, self.role).map_err(unbelievable)?;
                // What it is called, where it is and when that was is ours to say: the agent only repeats it.
                let (name, source) = (self.name.clone(), self.source.clone());
                Ok(Evidence { name, source, taken_at: now, ..*seen })
            }
            other => Err(wrong(other).unseen()),
        }
    }

    fn data(&self) -> &dyn Disk {
        &self.data
    }

    fn metadata(&self) -> &dyn Disk {
        &self.metadata
    }

    fn is_far(&self) -> bool {
        true
    }

    fn answering(&self, threads: usize) -> Result<FarEnd, ChannelFault> {
        self.data.answering(threads)
    }

    fn digest_there(&self, extents: &ExtentSet, threads: usize) -> Option<Result<Digest, DiskFault>> {
        Some(self.data.content_digest(extents, threads))
    }

    fn changed_blocks(&self, change: &MetadataChange, overwritten: &ExtentSet) -> Result<ExtentSet, Unseen> {
        let request = Request::ChangedBlocks {
            thing: self.thing,
            change: Box::new(change.clone()),
            overwritten: overwritten.clone(),
        };
        match self.ask(&request) {
            Ok((Reply::Extents(extents), _)) => {
                self.known.blocks(&extents).map_err(unbelievable)?;
                Ok(extents)
            }
            other => Err(wrong(other).unseen()),
        }
    }

    fn area_left(
        &self,
        change: &MetadataChange,
        overwritten: &ExtentSet,
        before: &dyn Disk,
        blocks: &ExtentSet,
    ) -> Result<AreaLeft, Unseen> {
        let mut kept = Vec::new();
        for block in blocks.iter() {
            let start = kept.len();
            kept.resize(start + usize::try_from(block.len).unwrap_or_default(), 0);
            before.read_at(block.start, &mut kept[start..]).map_err(|fault| Unseen(Box::new(fault)))?;
        }
        let (coding, packed, _) = pack(&kept, self.session.limits().squeeze);
        let request = Request::AreaLeft {
            thing: self.thing,
            change: Box::new(change.clone()),
            overwritten: overwritten.clone(),
            blocks: blocks.clone(),
            coding,
        };
        match self.session.call(&request, &packed) {
            Ok((Reply::Left { before, foreign }, _)) => {
                self.known.byte(foreign).map_err(unbelievable)?;
                Ok(AreaLeft { before, foreign })
            }
            other => Err(wrong(other).unseen()),
        }
    }
}

impl WritableReplica for RemoteReplica {
    fn hold(&self) -> Result<Box<dyn Hold>, Unseen> {
        // Before it is asked for: an answer that gets lost may have been yes.
        self.session.bind();
        match self.ask(&Request::Hold { thing: self.thing }) {
            Ok((Reply::Held { how }, _)) => {
                let how = format!("{how}, by the agent on {}", self.session.elsewhere().host);
                Ok(Box::new(RemoteHold { session: Arc::clone(&self.session), thing: self.thing, how }))
            }
            other => Err(wrong(other).unseen()),
        }
    }

    fn write_superblock(&self, superblock: &Superblock, _: &Quiesced, _: &Preserved, _: &Permit<'_>) -> End {
        let superblock = Box::new(superblock.clone());
        self.act(&Request::WriteSuperblock { thing: self.thing, superblock })
    }

    fn data_mut(&self, _: &Quiesced, _: &Preserved, _: &Permit<'_>) -> &dyn DiskMut {
        &self.data
    }

    fn metadata_mut(&self, _: &Quiesced, _: &Preserved, _: &Permit<'_>) -> &dyn DiskMut {
        &self.metadata
    }

    fn settle(
        &self,
        change: &MetadataChange,
        overwritten: &ExtentSet,
        again: bool,
        _: &Quiesced,
        _: &Preserved,
        _: &Permit<'_>,
    ) -> End {
        self.act(&Request::Settle {
            thing: self.thing,
            change: Box::new(change.clone()),
            overwritten: overwritten.clone(),
            again,
        })
    }
}

/// The agent's claim. It ends with this, or with the agent.
struct RemoteHold {
    session: Arc<Session>,
    thing: u32,
    how: String,
}

impl Hold for RemoteHold {
    fn still_ours(&self) -> Result<(), String> {
        match self.session.call(&Request::StillOurs { thing: self.thing }, &[]) {
            Ok((Reply::Done, _)) => Ok(()),
            other => Err(Told::new(wrong(other).causes()).to_string()),
        }
    }

    fn how(&self) -> &str {
        &self.how
    }
}

impl Drop for RemoteHold {
    fn drop(&mut self) {
        // A lost link has ended the claim already.
        let _ = self.session.call(&Request::Release { thing: self.thing }, &[]);
    }
}
