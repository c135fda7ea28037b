//! Questions to DRBD and their whole answers.

use super::NetlinkError;
use super::socket::{Kernel, Open, Wire, WireFault};
use crate::format::drbdnl::family::{Announcement, Family, NoGeneration, announcement};
use crate::format::drbdnl::frame::{Control, Frame, frames};
use crate::format::drbdnl::request::{self, Question};
use crate::format::drbdnl::{FramingError, report};
use crate::model::drbd_live::Generation;
use crate::model::drbd_live::report::Report;
use crate::model::drbd_live::tree::{Live, Take};
use drbd_sys::netlink::{self as drbd, code, generic as sys};
use std::time::{Duration, Instant};

/// How long and how often is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long one answer may take until it is whole.
    pub answer: Duration,
    /// How often a question is repeated whose answer was disturbed.
    pub rounds: u32,
    /// How many parts one answer may have.
    pub parts: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { answer: Duration::from_secs(10), rounds: 8, parts: 1 << 18 }
    }
}

/// A time limit that is too large to be added to the clock means this.
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// How an attempt at an answer ended.
enum Attempt<T> {
    /// Whole.
    Whole(T),
    /// Disturbed: ask again.
    Again,
}

/// Asks DRBD.
#[derive(Debug)]
pub struct Reader<O: Open> {
    opener: O,
    wire: Option<O::Wire>,
    sequence: u32,
    limits: Limits,
}

impl Reader<Kernel> {
    /// Asks this machine's kernel. Nothing is opened before the first question.
    #[must_use]
    pub fn of_this_machine(limits: Limits) -> Reader<Kernel> {
        Reader::new(Kernel, limits)
    }
}

impl<O: Open> Reader<O> {
    /// Asks through sockets that `opener` opens.
    #[must_use]
    pub fn new(opener: O, limits: Limits) -> Reader<O> {
        Reader { opener, wire: None, sequence: 0, limits }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) fn opener(&mut self) -> &mut O {
        &mut self.opener
    }

    /// Looks the family `drbd` up.
    ///
    /// # Errors
    /// [`NetlinkError`]; [`NetlinkError::NotLoaded`] if there is none.
    pub fn family(&mut self) -> Result<Family, NetlinkError> {
        match self.family_named(drbd::FAMILY) {
            // A DRBD that only speaks otherwise is no DRBD that is not there.
            Err(NetlinkError::NotLoaded) => match self.family_named(drbd::FAMILY_SECOND) {
                Ok(_) => Err(NetlinkError::OnlySecondFamily),
                Err(error) => Err(error),
            },
            found => found,
        }
    }

    /// Which DRBD it is, by its family and by its module.
    pub(super) fn generation(&mut self, family: &Family) -> Result<Generation, NetlinkError> {
        const QUESTION: &str = "the version of its module";
        let module = self.opener.module_version().map_err(|fault| self.error(QUESTION, fault))?;
        family.generation(module.as_deref()).map_err(|why| match why {
            NoGeneration::Family(version) => NetlinkError::UnknownVersion(version),
            NoGeneration::Module(version) => NetlinkError::UnknownModule(version),
            NoGeneration::Contradiction { module, family: version } => {
                let spoken = if version == drbd::VERSION_84 { "8.4" } else { "9" };
                NetlinkError::Contradiction { module, version, spoken }
            }
        })
    }

    /// Looks a family up.
    ///
    /// # Errors
    /// [`NetlinkError`]; [`NetlinkError::NotLoaded`] if there is none.
    pub fn family_named(&mut self, name: &str) -> Result<Family, NetlinkError> {
        const QUESTION: &str = "the netlink family";
        let family = self.repeat(
            QUESTION,
            |sequence| request::family(name, sequence),
            |reader, sequence, until| {
                let mut found = None;
                reader
                    .answer(QUESTION, sequence, until, |frame| {
                        if frame.family == sys::GENL_ID_CTRL
                            && let Announcement::Here(family) = announcement(frame.body)?
                            && family.name == name
                        {
                            found = Some(family);
                        }
                        Ok(found.is_some())
                    })
                    .map(|attempt| match attempt {
                        Attempt::Whole(()) => Attempt::Whole(found),
                        Attempt::Again => Attempt::Again,
                    })
            },
        );
        match family {
            Ok(Some(family)) => Ok(family),
            Ok(None) | Err(NetlinkError::ModuleChanged { .. }) => Err(NetlinkError::NotLoaded),
            Err(other) => Err(other),
        }
    }

    /// Asks one question, about everything or about one resource.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub fn ask(
        &mut self,
        family: &Family,
        question: Question,
        resource: Option<&str>,
    ) -> Result<Vec<Report>, NetlinkError> {
        let name = question.name();
        let generation = self.generation(family)?;
        if request::dump(family, question, resource, 0).is_none() {
            return Err(NetlinkError::ImpossibleName(resource.unwrap_or_default().to_owned()));
        }
        let most = self.limits.parts;
        let write = |sequence| request::dump(family, question, resource, sequence).unwrap_or_default();
        let (reports, too_many) = self.repeat(name, write, |reader, sequence, until| {
            let mut reports = Vec::new();
            let mut too_many = false;
            reader
                .answer(name, sequence, until, |frame| {
                    if frame.family == family.id {
                        reports.push(report::read(generation, frame.sequence, frame.body)?);
                    }
                    too_many = reports.len() > most;
                    Ok(too_many)
                })
                .map(|attempt| match attempt {
                    Attempt::Whole(()) => Attempt::Whole((reports, too_many)),
                    Attempt::Again => Attempt::Again,
                })
        })?;
        if too_many {
            // The rest of the answer waits on the socket: leave it there.
            self.wire = None;
            return Err(NetlinkError::TooLong { question: name, most });
        }
        match reports.iter().find(|report| report.code != 0 && !code::is_success(report.code)) {
            Some(report) => {
                let name_of_code = code::name(report.code).map(|(prefix, name)| format!("{prefix}{name}"));
                let text = report.info.join("; ");
                let known = name_of_code.unwrap_or_else(|| "unknown".to_owned());
                let full = if text.is_empty() { known } else { format!("{known}: {text}") };
                Err(NetlinkError::Answer { question: name, code: report.code, name: full })
            }
            None => Ok(reports),
        }
    }

    /// Everything that DRBD says of this node's resources now: state at one moment, and the options.
    ///
    /// # Errors
    /// [`NetlinkError`]; [`NetlinkError::NotLoaded`] if there is no DRBD.
    pub fn snapshot(&mut self) -> Result<Live, NetlinkError> {
        self.snapshot_of().map(|(live, _)| live)
    }

    pub(super) fn snapshot_of(&mut self) -> Result<(Live, Family), NetlinkError> {
        const QUESTION: &str = "the state of everything";
        for _ in 0..self.limits.rounds {
            let family = self.family()?;
            match self.gather(&family) {
                Err(NetlinkError::ModuleChanged { .. }) => continue,
                // The file and the family may be those of two modules, one after the other.
                Err(NetlinkError::Contradiction { .. }) if self.family()?.id != family.id => continue,
                Err(other) => return Err(other),
                // A module loaded meanwhile would have answered a part of the questions.
                Ok(live) if self.family()?.id == family.id => return Ok((live, family)),
                Ok(_) => {}
            }
        }
        Err(NetlinkError::Unsettled { question: QUESTION, times: self.limits.rounds })
    }

    fn gather(&mut self, family: &Family) -> Result<Live, NetlinkError> {
        let mut live = Live::empty(self.generation(family)?);
        let mut how = Take::State;
        let can = |question: Question| family.dumps(question.command());
        if can(Question::InitialState) {
            for report in self.ask(family, Question::InitialState, None)? {
                live.take(&report, Take::State);
            }
            // What follows is later by an instant, but not of one moment: it only adds what the first left out.
            how = Take::Fill;
        }
        let rest = [
            Question::Resources,
            Question::Devices,
            Question::Connections,
            Question::PeerDevices,
            Question::Paths,
            Question::Status,
        ];
        for question in rest.into_iter().filter(|question| can(*question)) {
            for report in self.ask(family, question, None)? {
                live.take(&report, how);
            }
        }
        Ok(live)
    }

    /// Asks until an answer is whole.
    fn repeat<T>(
        &mut self,
        question: &'static str,
        write: impl Fn(u32) -> Vec<u8>,
        mut attempt: impl FnMut(&mut Self, u32, Instant) -> Result<Attempt<T>, NetlinkError>,
    ) -> Result<T, NetlinkError> {
        for _ in 0..self.limits.rounds {
            // Answers to earlier attempts may still be on the way; the number tells them apart.
            self.sequence = self.sequence.wrapping_add(1).max(1);
            let sequence = self.sequence;
            let now = Instant::now();
            let until = now.checked_add(self.limits.answer).unwrap_or(now + A_YEAR);
            let result = self.send(question, &write(sequence)).and_then(|()| attempt(self, sequence, until));
            match result {
                Ok(Attempt::Whole(answer)) => return Ok(answer),
                Ok(Attempt::Again) => {}
                Err(error) => {
                    // Whatever is left of the answer goes with the socket.
                    self.wire = None;
                    return Err(error);
                }
            }
        }
        Err(NetlinkError::Unsettled { question, times: self.limits.rounds })
    }

    fn send(&mut self, question: &'static str, message: &[u8]) -> Result<(), NetlinkError> {
        if self.wire.is_none() {
            self.wire = Some(self.opener.open().map_err(|fault| self.error(question, fault))?);
        }
        let sent = self.wire.as_mut().map_or(Ok(()), |wire| wire.send(message));
        sent.map_err(|fault| self.error(question, fault))
    }

    fn error(&self, question: &'static str, fault: WireFault) -> NetlinkError {
        match fault {
            WireFault::TimedOut => NetlinkError::TimedOut { question, after: self.limits.answer },
            WireFault::Lost => NetlinkError::Unsettled { question, times: 1 },
            WireFault::Io(error) => NetlinkError::Io(error),
        }
    }

    /// Reads the parts of one answer to its end, or until `part` has enough.
    fn answer(
        &mut self,
        question: &'static str,
        sequence: u32,
        until: Instant,
        mut part: impl FnMut(&Frame<'_>) -> Result<bool, FramingError>,
    ) -> Result<Attempt<()>, NetlinkError> {
        let malformed = |source| NetlinkError::Malformed { question, source };
        let mut interrupted = false;
        loop {
            let received = match self.wire.as_mut() {
                Some(wire) => wire.receive(until),
                None => Err(WireFault::TimedOut),
            };
            let datagram = match received {
                Ok(datagram) => datagram,
                Err(WireFault::Lost) => return Ok(Attempt::Again),
                Err(fault) => return Err(self.error(question, fault)),
            };
            for frame in frames(&datagram) {
                let frame = frame.map_err(malformed)?;
                if frame.sequence != sequence {
                    continue;
                }
                interrupted |= frame.interrupted();
                match frame.control() {
                    Control::Payload => {
                        if part(&frame).map_err(malformed)? {
                            return Ok(Attempt::Whole(()));
                        }
                    }
                    Control::Done(sys::EINTR) | Control::Error(sys::EINTR) | Control::Overrun => {
                        return Ok(Attempt::Again);
                    }
                    Control::Done(0) | Control::Error(0) if interrupted => return Ok(Attempt::Again),
                    Control::Done(0) | Control::Error(0) => return Ok(Attempt::Whole(())),
                    Control::Done(errno) | Control::Error(errno) => return Err(refusal(question, errno)),
                    Control::Nothing => {}
                }
            }
        }
    }
}

fn refusal(question: &'static str, errno: i32) -> NetlinkError {
    match errno {
        // No family has that number any more, or one without that command has it now.
        sys::ENOENT | sys::EOPNOTSUPP => NetlinkError::ModuleChanged { question },
        sys::EPERM | sys::EACCES => NetlinkError::NotPermitted { question, errno },
        errno => NetlinkError::Refused { question, errno },
    }
}
