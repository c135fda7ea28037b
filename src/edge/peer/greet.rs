//! The greeting over a stream, and what can be wrong with it: the same words for both ends.

use super::line::{Gone, Line};
use crate::format::wire::hello::{Hello, NotAHello, PREAMBLE, parse_hello, parse_preamble};
use std::io::Read;

/// Why the other side is not one to talk to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoGreeting {
    /// The stream ended; what came before.
    Ended(Vec<u8>),
    /// Something else than a greeting came; its beginning.
    Noise(Vec<u8>),
    /// It is an agent that cannot be talked to.
    Not(NotAHello),
    /// The line is gone.
    Gone(Gone),
}

/// This machine and version. `silence`: after how many seconds of it we give up.
#[must_use]
pub fn ourselves(silence: Option<u32>) -> Hello {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Hello { unsplit: env!("CARGO_PKG_VERSION").to_owned(), host, machine: machine_id(), silence }
}

/// This machine's id, where it can be read.
#[must_use]
pub fn machine_id() -> Option<String> {
    let text = std::fs::read_to_string("/etc/machine-id").ok()?;
    let id = text.trim();
    (id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit())).then(|| id.to_owned())
}

/// Reads the other side's greeting, and nothing behind it.
///
/// # Errors
/// [`NoGreeting`].
pub fn read_greeting(line: &Line, input: &mut impl Read) -> Result<Hello, NoGreeting> {
    let mut preamble = [0; PREAMBLE];
    let mut got = 0;
    while got < PREAMBLE {
        match input.read(&mut preamble[got..]) {
            Ok(0) => return Err(NoGreeting::Ended(preamble[..got].to_vec())),
            Ok(read) => {
                line.heard();
                // Text is told from a greeting by its first byte, without waiting for more of it.
                if preamble[0] != 0 {
                    return Err(NoGreeting::Noise(preamble[..got + read].to_vec()));
                }
                got += read;
            }
            Err(error) => line.not_yet(error).map_err(NoGreeting::Gone)?,
        }
    }
    let (protocol, len) = parse_preamble(&preamble).map_err(|error| match error {
        NotAHello::Magic => NoGreeting::Noise(preamble.to_vec()),
        other => NoGreeting::Not(other),
    })?;
    let mut rest = vec![0; len];
    let mut got = 0;
    while got < len {
        match input.read(&mut rest[got..]) {
            // A version that says less is another version all the same.
            Ok(0) if protocol != crate::format::wire::hello::PROTOCOL => break,
            Ok(0) => return Err(NoGreeting::Ended(Vec::new())),
            Ok(read) => got += read,
            Err(error) => line.not_yet(error).map_err(NoGreeting::Gone)?,
        }
    }
    parse_hello(&preamble, &rest).map_err(NoGreeting::Not)
}

/// The first line of what came instead of a greeting, fit for a screen.
#[must_use]
pub fn first_line(noise: &[u8]) -> String {
    let text = String::from_utf8_lossy(noise);
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.trim().chars().take(120).map(|c| if c.is_control() || c == '\u{fffd}' { '?' } else { c }).collect()
}
