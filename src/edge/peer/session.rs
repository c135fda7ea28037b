//! Asking a peer: connecting, requests, and connecting again when the link dies between two readings.

use super::greet::{NoGreeting, first_line, ourselves, read_greeting};
use super::lane::{LaneReceiver, LaneSender, open_lane};
use super::line::{End, Gone, Line};
use super::spec::PeerSpec;
use super::told::Trouble;
use crate::edge::process::Process;
use crate::format::wire::believe::{Known, Unbelievable};
use crate::format::wire::control::{Opened, Reply, Request, document_bytes};
use crate::format::wire::frame::Kind;
use crate::format::wire::hello::{Hello, NotAHello, PROTOCOL, hello_bytes};
use crate::format::wire::reply::{Bounds, read_reply};
use crate::model::evidence::Elsewhere;
use crate::ports::channel::ChannelFault;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a link that died is made again, in all.
const RECONNECTS: u32 = 4;
/// How long an agent may take to end once nobody asks any more.
const FAREWELL: Duration = Duration::from_secs(5);

/// Limits of a session.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Silence longer than this is the end of the link.
    pub silence: Duration,
    /// An agent that says that it is alive, and owes an answer, and gets no further for that long, is given up.
    pub patience: Duration,
    /// Whether compressing contents may be tried.
    pub squeeze: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits::of(Duration::from_secs(60))
    }
}

impl Limits {
    /// With this silence, and ten times as much patience, at least ten minutes: a disk that fails can take minutes for one
    /// block, and so can a flush. A long answer is no matter of patience: an agent says how far it has come.
    #[must_use]
    pub fn of(silence: Duration) -> Limits {
        let patience = silence.saturating_mul(10).max(Duration::from_secs(600));
        Limits { silence, patience, squeeze: true }
    }
}

/// No agent could be talked to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The program is not there, or may not be run.
    #[error("{program} cannot be started")]
    NotStarted {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The far shell found no program of that name.
    #[error("{peer}: unsplit was not found there{}", quoted(said))]
    NoBinary {
        /// The peer.
        peer: String,
        /// Its last words.
        said: Vec<String>,
    },
    /// ssh failed.
    #[error("{peer}: ssh could not connect{}", quoted(said))]
    Ssh {
        /// The peer.
        peer: String,
        /// Its last words.
        said: Vec<String>,
    },
    /// It ended before it said who it is.
    #[error("{peer}: the agent ended before it greeted ({status}){}", quoted(said))]
    Ended {
        /// The peer.
        peer: String,
        /// How.
        status: String,
        /// Its last words.
        said: Vec<String>,
    },
    /// Something else came.
    #[error("{peer}: something there writes to standard output before the agent does: `{line}`")]
    Noise {
        /// The peer.
        peer: String,
        /// Its first line.
        line: String,
    },
    /// Another version.
    #[error("{peer}: the unsplit there speaks version {theirs} of the protocol, this one speaks {PROTOCOL}")]
    Version {
        /// The peer.
        peer: String,
        /// Its protocol.
        theirs: u32,
    },
    /// The greeting is damaged.
    #[error("{peer}: the agent's greeting is damaged")]
    Damaged {
        /// The peer.
        peer: String,
    },
    /// Nothing came.
    #[error("{peer}: nothing was heard for {seconds} seconds{}", quoted(said))]
    Silent {
        /// The peer.
        peer: String,
        /// The limit.
        seconds: u64,
        /// Its last words.
        said: Vec<String>,
    },
    /// A thread could not be started, or the like.
    #[error("{peer}: {why}")]
    Other {
        /// The peer.
        peer: String,
        /// In words.
        why: String,
    },
}

fn quoted(said: &[String]) -> String {
    if said.is_empty() { String::new() } else { format!("; it said: {}", said.join(" / ")) }
}

impl ConnectError {
    /// What a person can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            ConnectError::NotStarted { .. } => "install it, or name another command with --peer exec:COMMAND",
            ConnectError::NoBinary { .. } => {
                "install the same version of unsplit there, in the PATH of a shell that is not a login shell; \
                 or say where it is: --peer 'exec:ssh HOST /path/to/unsplit agent --stdio'"
            }
            ConnectError::Ssh { .. } => {
                "try `ssh HOST true` first; keys, names and ports belong into ssh's own configuration"
            }
            ConnectError::Ended { .. } => "run the same command by hand and look at what it says",
            ConnectError::Noise { .. } => {
                "let the shell's startup files there print nothing when nobody is at the terminal (`ssh HOST true` must print nothing)"
            }
            ConnectError::Version { .. } => "install the same version of unsplit on both nodes",
            ConnectError::Damaged { .. } => {
                "check that the command's output reaches this side unchanged (no pseudo-terminal)"
            }
            ConnectError::Silent { .. } => {
                "look whether the node is up and reachable; --peer-timeout SECONDS waits longer"
            }
            ConnectError::Other { .. } => "try again",
        }
    }
}

/// The link was lost, and was not or could not be made again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Lost(pub String);

/// One connection.
struct Link {
    line: Arc<Line>,
    process: Option<Arc<Process>>,
    hello: Hello,
    next: AtomicU32,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.line.close();
        if let Some(process) = &self.process
            && (self.line.gone().is_some() || process.ended_within(FAREWELL).is_none())
        {
            process.kill();
        }
        self.line.fail(Gone::Closed);
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map(|_| ()).map_err(|error| format!("no thread could be started: {error}"))
}

/// A request that is under way.
struct Asked {
    id: u32,
    bounds: Bounds,
}

impl Link {
    fn start(spec: &PeerSpec, limits: Limits) -> Result<Link, ConnectError> {
        let (process, stdin, stdout) = Process::start(spec.argv()).map_err(|source| {
            ConnectError::NotStarted { program: spec.argv().first().cloned().unwrap_or_default(), source }
        })?;
        let process = Arc::new(process);
        let killed = Arc::clone(&process);
        Link::over(spec, Some(process), (stdout, stdin), Box::new(move || killed.kill()), limits)
    }

    /// Greets whoever is at the other end of these streams.
    fn over(
        spec: &PeerSpec,
        process: Option<Arc<Process>>,
        (mut input, output): (impl Read + Send + 'static, impl Write + Send + 'static),
        stop: Box<dyn Fn() + Send + Sync>,
        limits: Limits,
    ) -> Result<Link, ConnectError> {
        let line = Line::new(End::Asks { patience: limits.patience }, limits.silence, stop);
        let (greeted, greeting) = sync_channel(1);
        let noise = Arc::new(Mutex::new(Vec::new()));
        let other = |why: String| ConnectError::Other { peer: spec.to_string(), why };
        let said = || process.as_ref().map(|process| process.said()).unwrap_or_default();

        let silence = u32::try_from(limits.silence.as_secs()).ok();
        line.send_plain(hello_bytes(&ourselves(silence))).map_err(|gone| other(gone.into()))?;
        let (writer, watcher, reader) = (Arc::clone(&line), Arc::clone(&line), Arc::clone(&line));
        spawn("peer-write", move || writer.write_all(output)).map_err(other)?;
        spawn("peer-watch", move || watcher.watch()).map_err(other)?;
        let rest = Arc::clone(&noise);
        let read = move || {
            let said = read_greeting(&reader, &mut input);
            let fine = said.is_ok();
            let noisy = matches!(said, Err(NoGreeting::Noise(_)));
            let _ = greeted.send(said);
            if fine {
                // Requests never get here: the line refuses them.
                reader.read_all(&mut input, |_, _| {});
            } else if noisy {
                // The rest of its first line says more than its beginning.
                let mut bytes = [0; 256];
                if let Ok(read) = input.read(&mut bytes) {
                    rest.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&bytes[..read]);
                }
            }
        };
        spawn("peer-read", read).map_err(other)?;

        let heard = greeting.recv_timeout(limits.silence);
        let silent = |seconds| ConnectError::Silent { peer: spec.to_string(), seconds, said: said() };
        let failure = match heard {
            Ok(Ok(hello)) => return Ok(Link { line, process, hello, next: AtomicU32::new(1) }),
            Ok(Err(NoGreeting::Ended(before))) => match line.gone() {
                // It was ended because it said nothing.
                Some(Gone::TimedOut(seconds)) => silent(seconds),
                _ => ended(spec, process.as_deref(), &before),
            },
            Ok(Err(NoGreeting::Noise(mut before))) => {
                // The rest of the line is on its way, or there is none.
                std::thread::sleep(Duration::from_millis(200));
                before.extend(noise.lock().unwrap_or_else(PoisonError::into_inner).iter());
                ConnectError::Noise { peer: spec.to_string(), line: first_line(&before) }
            }
            Ok(Err(NoGreeting::Not(NotAHello::Protocol(theirs)))) => {
                ConnectError::Version { peer: spec.to_string(), theirs }
            }
            Ok(Err(NoGreeting::Not(_))) => ConnectError::Damaged { peer: spec.to_string() },
            Ok(Err(NoGreeting::Gone(Gone::TimedOut(seconds)))) => silent(seconds),
            // What cannot be written to has ended, and says how.
            Ok(Err(NoGreeting::Gone(_))) | Err(RecvTimeoutError::Disconnected) => {
                ended(spec, process.as_deref(), &[])
            }
            Err(RecvTimeoutError::Timeout) => silent(limits.silence.as_secs()),
        };
        line.fail(Gone::Closed);
        Err(failure)
    }

    fn begin(&self, request: &Request, beside: &[u8], bounds: Bounds) -> Result<Asked, Gone> {
        let document = document_bytes(request, beside).map_err(|error| Gone::Corrupt(error.to_string()))?;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.line.expect(id, bounds.bytes)?;
        self.line.send_document(id, Kind::Request, &document)?;
        Ok(Asked { id, bounds })
    }

    fn finish(&self, asked: &Asked) -> Result<(Reply, Vec<u8>), Gone> {
        let bytes = self.line.reply_to(asked.id)?;
        read_reply(bytes, asked.bounds).map_err(|error| {
            let gone = Gone::Corrupt(error.to_string());
            self.line.fail(gone.clone());
            gone
        })
    }

    /// Why it is gone, with the agent's last words.
    fn last_words(&self, gone: &Gone) -> String {
        let Some(process) = &self.process else { return gone.to_string() };
        let status = process.ended_within(Duration::from_millis(500));
        let status = status.map(|status| format!(" ({status})")).unwrap_or_default();
        format!("{gone}{status}{}", quoted(&process.said()))
    }
}

/// The agent's program ended without a greeting.
fn ended(spec: &PeerSpec, process: Option<&Process>, before: &[u8]) -> ConnectError {
    let peer = spec.to_string();
    if !before.is_empty() && before.first() != Some(&0) {
        return ConnectError::Noise { peer, line: first_line(before) };
    }
    let status = process.and_then(|process| process.ended_within(Duration::from_secs(2)));
    // Its last words may still be on their way through the pipe.
    std::thread::sleep(Duration::from_millis(50));
    let said = process.map(Process::said).unwrap_or_default();
    match status.and_then(|status| status.code()) {
        Some(127) => ConnectError::NoBinary { peer, said },
        Some(255) if spec.is_ssh() => ConnectError::Ssh { peer, said },
        _ => {
            let status =
                status.map_or_else(|| "it closed its output".to_owned(), |status| status.to_string());
            ConnectError::Ended { peer, status, said }
        }
    }
}

/// What is open over there, and how it was opened.
#[derive(Clone)]
struct Open {
    request: Request,
    opened: Opened,
    known: Option<Known>,
}

/// A conversation with one peer about the node and what was opened there. Survives the death of a link as long as nothing
/// but reading was going on: what is open is opened again, under the same numbers.
pub struct Session {
    spec: PeerSpec,
    limits: Limits,
    link: Mutex<Arc<Link>>,
    opened: Mutex<BTreeMap<u32, Open>>,
    /// A claim was taken: it ends with the link, so that no other link may go on for this one.
    bound: AtomicBool,
    left: AtomicU32,
    lost: Mutex<Option<Lost>>,
}

impl Session {
    /// Starts the agent and greets it.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect(spec: &PeerSpec, limits: Limits) -> Result<Arc<Session>, ConnectError> {
        Ok(Session::of(spec, limits, Link::start(spec, limits)?, RECONNECTS))
    }

    /// Greets an agent over streams that are there already. `spec` is what it is called; `stop` must end both directions; a
    /// link that dies is not made again.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn over(
        spec: &PeerSpec,
        streams: (impl Read + Send + 'static, impl Write + Send + 'static),
        stop: Box<dyn Fn() + Send + Sync>,
        limits: Limits,
    ) -> Result<Arc<Session>, ConnectError> {
        Ok(Session::of(spec, limits, Link::over(spec, None, streams, stop, limits)?, 0))
    }

    fn of(spec: &PeerSpec, limits: Limits, link: Link, reconnects: u32) -> Arc<Session> {
        Arc::new(Session {
            spec: spec.clone(),
            limits,
            link: Mutex::new(Arc::new(link)),
            opened: Mutex::default(),
            bound: AtomicBool::new(false),
            left: AtomicU32::new(reconnects),
            lost: Mutex::new(None),
        })
    }

    /// The peer's machine.
    #[must_use]
    pub fn elsewhere(&self) -> Elsewhere {
        let hello = self.link().hello.clone();
        let shown = |text: String| text.replace(char::is_control, "?");
        Elsewhere { peer: self.spec.to_string(), host: shown(hello.host), machine: hello.machine.map(shown) }
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// How the peer is reached.
    #[must_use]
    pub fn spec(&self) -> &PeerSpec {
        &self.spec
    }

    /// Why the session is of no further use, if it is not.
    #[must_use]
    pub fn lost(&self) -> Option<Lost> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn link(&self) -> Arc<Link> {
        Arc::clone(&self.link.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on a lost link is the end: what the agent holds for us ends with it.
    pub fn bind(&self) {
        self.bound.store(true, Ordering::SeqCst);
    }

    /// Opens a disk or replica over there.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn open(&self, request: Request) -> Result<Opened, Trouble> {
        let (reply, _) = self.call(&request, &[])?;
        match reply {
            Reply::Opened(opened) => {
                let known = Known::of(&opened, &request)?;
                let mut all = self.opened();
                if all.contains_key(&opened.thing) {
                    return Err(Unbelievable("it opened under a number that is in use".to_owned()).into());
                }
                all.insert(opened.thing, Open { request, opened: opened.clone(), known });
                Ok(opened)
            }
            Reply::Fault(fault) => Err(Trouble::Fault(fault)),
            _ => Err(Trouble::Nonsense),
        }
    }

    fn opened(&self) -> MutexGuard<'_, BTreeMap<u32, Open>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of the inside of a replica that was opened.
    #[must_use]
    pub fn known(&self, thing: u32) -> Option<Known> {
        self.opened().get(&thing).and_then(|open| open.known.clone())
    }

    /// How long the reply to this can be.
    fn bounds(&self, request: &Request) -> Bounds {
        let opened = self.opened();
        let known = request.thing().and_then(|thing| opened.get(&thing)).and_then(|open| open.known.as_ref());
        request.reply_bounds(known.map(Known::geometry))
    }

    /// Closes what was opened. A link that is lost has closed it already.
    pub fn close(&self, thing: u32) {
        if self.opened().remove(&thing).is_some() {
            let _ = self.call_once(&Request::Close { thing });
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`Lost`].
    pub fn call(&self, request: &Request, beside: &[u8]) -> Result<(Reply, Vec<u8>), Lost> {
        let bounds = self.bounds(request);
        loop {
            let link = self.link();
            match link.begin(request, beside, bounds).and_then(|asked| link.finish(&asked)) {
                Ok(answer) => return Ok(answer),
                Err(gone) => self.again(&link, &gone)?,
            }
        }
    }

    /// Asks once: when the link dies before the answer, whether it was done is not known, and it is not asked again.
    ///
    /// # Errors
    /// [`Lost`].
    pub fn call_once(&self, request: &Request) -> Result<(Reply, Vec<u8>), Lost> {
        let link = self.link();
        link.begin(request, &[], self.bounds(request))
            .and_then(|asked| link.finish(&asked))
            .map_err(|gone| Lost(format!("{}: {}", self.spec, link.last_words(&gone))))
    }

    /// Asks several things at once, and waits for all answers, in the same order.
    ///
    /// # Errors
    /// [`Lost`].
    pub fn call_all(&self, requests: &[(Request, Vec<u8>)]) -> Result<Vec<(Reply, Vec<u8>)>, Lost> {
        let mut answers = Vec::with_capacity(requests.len());
        while answers.len() < requests.len() {
            let link = self.link();
            let begun: Vec<Result<Asked, Gone>> = requests[answers.len()..]
                .iter()
                .map(|(request, beside)| link.begin(request, beside, self.bounds(request)))
                .collect();
            let mut stopped = None;
            for asked in begun {
                match asked.and_then(|asked| link.finish(&asked)) {
                    Ok(answer) if stopped.is_none() => answers.push(answer),
                    Ok(_) => {}
                    Err(gone) => stopped = stopped.or(Some(gone)),
                }
            }
            if let Some(gone) = stopped {
                self.again(&link, &gone)?;
            }
        }
        Ok(answers)
    }

    /// Opens a channel to whatever the request starts over there. The last value waits for how that ends.
    ///
    /// # Errors
    /// [`ChannelFault`].
    pub fn channel(&self, request: &Request) -> Result<(LaneSender, LaneReceiver, Outcome), ChannelFault> {
        let document =
            document_bytes(request, &[]).map_err(|error| ChannelFault::Corrupt(error.to_string()))?;
        let bounds = self.bounds(request);
        loop {
            let link = self.link();
            let id = link.next.fetch_add(1, Ordering::Relaxed);
            let opened = match open_lane(&link.line, id) {
                // A reply is waited for only once its request will be sent.
                Ok(opened) => link.line.expect(id, bounds.bytes).map(|()| opened),
                Err(fault) => match link.line.gone() {
                    Some(gone) => Err(gone),
                    None => return Err(fault),
                },
            };
            let (sender, receiver) = match opened {
                Ok(opened) => opened,
                Err(gone) => {
                    self.again(&link, &gone).map_err(|lost| ChannelFault::Io(std::io::Error::other(lost)))?;
                    continue;
                }
            };
            let outcome = Outcome { link: Arc::clone(&link), asked: Asked { id, bounds } };
            link.line.send_document(id, Kind::Request, &document)?;
            return Ok((sender, receiver, outcome));
        }
    }

    /// After a link died: a new one, if that may be and works.
    fn again(&self, dead: &Arc<Link>, gone: &Gone) -> Result<(), Lost> {
        let mut current = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lost) = self.lost() {
            return Err(lost);
        }
        if !Arc::ptr_eq(&current, dead) {
            return Ok(());
        }
        let why = format!("{}: {}", self.spec, dead.last_words(gone));
        let give_up = |why: String| {
            let lost = Lost(why);
            *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(lost.clone());
            Err(lost)
        };
        if let Gone::Stuck(_) = gone {
            // The next agent would be asked the same of the same disk.
            return give_up(why);
        }
        if self.bound.load(Ordering::SeqCst) {
            return give_up(format!("{why}; the claim on the devices there ended with it"));
        }
        let mut last = String::new();
        while self.left.load(Ordering::SeqCst) > 0 {
            let tried = RECONNECTS - self.left.fetch_sub(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(200) * (1 << (2 * tried.min(3))));
            match Link::start(&self.spec, self.limits) {
                Ok(link) => match self.same_as_before(&dead.hello, &link) {
                    Ok(()) => {
                        tracing::warn!("{why}; connected again");
                        *current = Arc::new(link);
                        return Ok(());
                    }
                    Err(Different::Changed(what)) => {
                        return give_up(format!("{why}; connected again, but {what}"));
                    }
                    Err(Different::Gone(gone)) => last = gone.to_string(),
                },
                Err(error) => last = error.to_string(),
            }
        }
        let last = if last.is_empty() { String::new() } else { format!("; and again: {last}") };
        give_up(format!("{why}{last}"))
    }

    /// Opens over the new link what was opened over the old one.
    fn same_as_before(&self, before: &Hello, link: &Link) -> Result<(), Different> {
        let now = &link.hello;
        if (&before.host, &before.machine) != (&now.host, &now.machine) {
            let what = format!("it is another machine now: {} instead of {}", now.host, before.host);
            return Err(Different::Changed(what));
        }
        let all = self.opened().clone();
        all.into_iter().try_for_each(|(thing, open)| open_again(link, thing, open.request, &open.opened))
    }
}

fn open_again(link: &Link, thing: u32, opening: Request, before: &Opened) -> Result<(), Different> {
    let request = Request::OpenAs { thing, opening: Box::new(opening) };
    let bounds = request.reply_bounds(None);
    let (reply, _) =
        link.begin(&request, &[], bounds).and_then(|asked| link.finish(&asked)).map_err(Different::Gone)?;
    match reply {
        Reply::Opened(now) if now == *before => Ok(()),
        Reply::Opened(_) => {
            Err(Different::Changed(format!("{} is not as it was when it was opened", before.data)))
        }
        Reply::Fault(fault) => Err(Different::Changed(Trouble::Fault(fault).causes().join(": "))),
        _ => Err(Different::Changed(Trouble::Nonsense.causes().join(": "))),
    }
}

/// Why a new link cannot take the old one's place.
enum Different {
    Changed(String),
    Gone(Gone),
}

/// How the work at the other end of a channel ends.
pub struct Outcome {
    link: Arc<Link>,
    asked: Asked,
}

impl Drop for Outcome {
    fn drop(&mut self) {
        self.link.line.forget(self.asked.id);
    }
}

impl Outcome {
    /// Waits for it.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn wait(self) -> Result<(), Trouble> {
        match self.link.finish(&self.asked) {
            Ok((Reply::Done, _)) => Ok(()),
            Ok((Reply::Fault(fault), _)) => Err(Trouble::Fault(fault)),
            Ok(_) => Err(Trouble::Nonsense),
            Err(gone) => Err(Trouble::Lost(Lost(self.link.last_words(&gone)))),
        }
    }
}
