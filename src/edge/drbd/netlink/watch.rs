//! What changes in DRBD, as it changes.
//!
//! The watch joins two groups: DRBD's own, and the controller's, which tells when the module goes or comes. A loss is noticed
//! by the kernel's word for it and by gaps in DRBD's own numbering; either is answered with everything read anew. What was on its
//! way before a snapshot is delivered after it: apply reports in the order in which they come, and the last word is right.

use super::NetlinkError;
use super::reader::{Limits, Reader};
use super::socket::{Kernel, Open, Wire, WireFault};
use crate::format::drbdnl::family::{Announcement, announcement};
use crate::format::drbdnl::frame::{Control, Frame, frames};
use crate::format::drbdnl::{FramingError, report};
use crate::model::drbd_live::Generation;
use crate::model::drbd_live::report::Report;
use crate::model::drbd_live::tree::Live;
use drbd_sys::netlink::{self as drbd, command, generic as sys};
use std::collections::VecDeque;
use std::time::Instant;

/// Why everything was read anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The watch began.
    Start,
    /// The kernel dropped notifications.
    Lost,
    /// DRBD's numbering has a gap.
    Gap {
        /// How many notifications are missing.
        missing: u32,
    },
    /// A notification's framing is broken.
    Damaged(FramingError),
    /// The module was loaded, perhaps again.
    Loaded,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Something changed.
    Report(Box<Report>),
    /// Everything, anew: forget what was known.
    Snapshot {
        /// Everything.
        live: Live,
        /// Why.
        why: Why,
    },
    /// There is no DRBD, or no longer. The watch goes on and tells when it is loaded.
    NotLoaded,
}

/// The loaded module, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Module {
    id: u16,
    generation: Generation,
}

/// Watches DRBD.
#[derive(Debug)]
pub struct Watch<O: Open> {
    reader: Reader<O>,
    ears: Option<O::Wire>,
    module: Option<Module>,
    /// A snapshot is due.
    due: Option<Why>,
    /// Next number of notifications, and of 8.4's `EVENT`, which count apart.
    expected: [Option<u32>; 2],
    heard: VecDeque<Heard>,
}

impl Watch<Kernel> {
    /// Watches this machine's DRBD.
    #[must_use]
    pub fn of_this_machine(limits: Limits) -> Watch<Kernel> {
        Watch::new(Kernel, limits)
    }
}

impl<O: Open> Watch<O> {
    /// Watches through sockets that `opener` opens. The first thing heard is a snapshot, or that there is no DRBD.
    #[must_use]
    pub fn new(opener: O, limits: Limits) -> Watch<O> {
        let reader = Reader::new(opener, limits);
        Watch {
            reader,
            ears: None,
            module: None,
            due: Some(Why::Start),
            expected: [None; 2],
            heard: VecDeque::new(),
        }
    }

    /// The next thing heard; `None` if there was nothing until `until`.
    ///
    /// # Errors
    /// [`NetlinkError`]. The watch can be asked again; what could not be read is read anew then.
    pub fn next(&mut self, until: Instant) -> Result<Option<Heard>, NetlinkError> {
        loop {
            // First what came before the loss: a handler's call is in no snapshot.
            if let Some(heard) = self.heard.pop_front() {
                return Ok(Some(heard));
            }
            if let Some(why) = self.due.clone() {
                return self.look(why).map(Some);
            }
            let Some(ears) = self.ears.as_mut() else {
                self.due = Some(Why::Start);
                continue;
            };
            match ears.receive(until) {
                Ok(datagram) => self.hear(&datagram),
                Err(WireFault::TimedOut) => return Ok(None),
                Err(WireFault::Lost) => self.due = Some(Why::Lost),
                Err(WireFault::Io(error)) => {
                    self.ears = None;
                    self.due = Some(Why::Lost);
                    return Err(NetlinkError::Io(error));
                }
            }
        }
    }

    /// Listens, then reads everything. In this order nothing falls between.
    fn look(&mut self, why: Why) -> Result<Heard, NetlinkError> {
        self.listen()?;
        // A gap is counted once; after anything else the numbers may go on anywhere.
        if !matches!(why, Why::Gap { .. }) {
            self.expected = [None; 2];
        }
        for _ in 0..self.reader.limits().rounds {
            match self.join().and_then(|()| self.reader.snapshot_of()) {
                Ok((live, family)) if self.module.is_some_and(|module| module.id == family.id) => {
                    self.due = None;
                    return Ok(Heard::Snapshot { live, why });
                }
                // Loaded again between joining and reading: its group is another.
                Ok(_) | Err(NetlinkError::ModuleChanged { .. }) => {}
                Err(NetlinkError::NotLoaded) => {
                    self.due = None;
                    self.module = None;
                    return Ok(Heard::NotLoaded);
                }
                Err(error) => return Err(error),
            }
        }
        Err(NetlinkError::Unsettled {
            question: "the state of everything",
            times: self.reader.limits().rounds,
        })
    }

    fn listen(&mut self) -> Result<(), NetlinkError> {
        if self.ears.is_none() {
            let fault = |fault| match fault {
                WireFault::Io(error) => NetlinkError::Io(error),
                other => NetlinkError::Io(std::io::Error::other(other)),
            };
            let mut ears = self.reader.opener().open().map_err(fault)?;
            ears.join(sys::CTRL_GROUP_NOTIFY_ID).map_err(fault)?;
            self.ears = Some(ears);
        }
        Ok(())
    }

    /// Joins the loaded module's group.
    fn join(&mut self) -> Result<(), NetlinkError> {
        let family = self.reader.family()?;
        let generation = self.reader.generation(&family)?;
        let question = "its notifications";
        let group = family.group(drbd::GROUP_EVENTS).ok_or(NetlinkError::ModuleChanged { question })?;
        let joined = self.ears.as_mut().map_or(Ok(()), |ears| ears.join(group));
        match joined {
            Ok(()) => {
                let module = Some(Module { id: family.id, generation });
                if self.module != module {
                    self.expected = [None; 2];
                    self.module = module;
                }
                Ok(())
            }
            // The group went with its module since it was looked up.
            Err(WireFault::Io(error)) if error.raw_os_error() == Some(sys::ENOENT) => {
                Err(NetlinkError::ModuleChanged { question })
            }
            Err(WireFault::Io(error)) => Err(NetlinkError::Io(error)),
            Err(other) => Err(NetlinkError::Io(std::io::Error::other(other))),
        }
    }

    fn hear(&mut self, datagram: &[u8]) {
        for frame in frames(datagram) {
            let taken = frame.and_then(|frame| self.take(&frame));
            if let Err(error) = taken {
                self.due = Some(Why::Damaged(error));
            }
            if self.due.is_some() {
                return;
            }
        }
    }

    fn take(&mut self, frame: &Frame<'_>) -> Result<(), FramingError> {
        match frame.control() {
            Control::Overrun => self.due = Some(Why::Lost),
            Control::Payload if frame.family == sys::GENL_ID_CTRL => match announcement(frame.body)? {
                Announcement::Here(family) if family.name == drbd::FAMILY => self.due = Some(Why::Loaded),
                Announcement::Gone(family) if family.name == drbd::FAMILY => {
                    self.module = None;
                    self.heard.push_back(Heard::NotLoaded);
                }
                _ => {}
            },
            Control::Payload => {
                let Some(module) = self.module.filter(|module| module.id == frame.family) else {
                    return Ok(());
                };
                let report = report::read(module.generation, frame.sequence, frame.body)?;
                let missing = self.missing(&report);
                self.heard.push_back(Heard::Report(Box::new(report)));
                if missing > 0 {
                    self.due = Some(Why::Gap { missing });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// How many notifications are missing before this one. One that comes late was counted as missing before.
    fn missing(&mut self, report: &Report) -> u32 {
        let Some(expected) = self.expected.get_mut(usize::from(report.command == command::EVENT)) else {
            return 0;
        };
        let ahead = expected.map_or(0, |expected| report.sequence.wrapping_sub(expected));
        if ahead <= u32::MAX / 2 {
            *expected = Some(report.sequence.wrapping_add(1));
            ahead
        } else {
            0
        }
    }
}
