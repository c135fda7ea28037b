//! A running DRBD, asked through generic netlink. It is only read: changes go through DRBD's own tools.
//!
//! | file | does |
//! |---|---|
//! | [`socket`] | the kernel's socket behind a trait, so that captures can be replayed |
//! | [`reader`] | questions and whole answers: resolves the family, repeats what was interrupted |
//! | [`watch`] | what changes, as it changes; everything anew when something was lost or the module was reloaded |

pub mod reader;
pub mod socket;
pub mod watch;

use crate::format::drbdnl::FramingError;
use std::io;
use std::time::Duration;

/// Why DRBD could not be read. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// There is no DRBD.
    #[error(
        "the DRBD module is not loaded: this kernel has no generic netlink family `drbd`. `modprobe drbd` loads it"
    )]
    NotLoaded,
    /// A DRBD that nothing here knows.
    #[error(
        "the loaded DRBD module speaks version {0} of its netlink protocol; 1 (DRBD 8.4) and 2 (DRBD 9) are known"
    )]
    UnknownVersion(u32),
    /// A module of a generation that nothing here knows.
    #[error("the loaded DRBD module has version `{0}`; 8.4 and 9 are known")]
    UnknownModule(String),
    /// The module is of one generation, and speaks as the other.
    #[error(
        "the loaded DRBD module has version {module}, but its netlink family `drbd` speaks version {version}, which is DRBD {spoken}'s; \
         its answers would be judged by the wrong rules, so none is taken. A DRBD 9.3.5 or later that was built to serve DRBD 8.4's \
         tools does that: load one that was built without that option"
    )]
    Contradiction {
        /// The module's version.
        module: String,
        /// The family's.
        version: u32,
        /// Whose version that is.
        spoken: &'static str,
    },
    /// Only the second family of DRBD 9.3.5 is there.
    #[error(
        "a DRBD module is loaded, but of its netlink families only `drbd2` is there, which has another format and is not read \
         here; it needs a DRBD that has the family `drbd`"
    )]
    OnlySecondFamily,
    /// The module went away, or another took its place, while it was asked.
    #[error("the DRBD module was unloaded or loaded again while it was asked for {question}")]
    ModuleChanged {
        /// What was asked.
        question: &'static str,
    },
    /// Not allowed.
    #[error("the kernel does not allow this user to ask for {question} (errno {errno}); root may")]
    NotPermitted {
        /// What was asked.
        question: &'static str,
        /// What the kernel said.
        errno: i32,
    },
    /// The kernel refused.
    #[error("the kernel refused to answer for {question} (errno {errno})")]
    Refused {
        /// What was asked.
        question: &'static str,
        /// What the kernel said.
        errno: i32,
    },
    /// DRBD answered with an error.
    #[error("DRBD answered for {question} with code {code} ({name})")]
    Answer {
        /// What was asked.
        question: &'static str,
        /// DRBD's code.
        code: i32,
        /// Its name.
        name: String,
    },
    /// A resource that cannot exist.
    #[error("`{0}` cannot be the name of a DRBD resource: names have 1 to 127 bytes, none of them 0")]
    ImpossibleName(String),
    /// The answer did not come whole in time.
    #[error("no complete answer for {question} within {after:?}; nothing is known about it")]
    TimedOut {
        /// What was asked.
        question: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The answer was disturbed each time.
    #[error(
        "the answer for {question} was interrupted by changes {times} times in a row; try again when less happens"
    )]
    Unsettled {
        /// What was asked.
        question: &'static str,
        /// How often it was asked.
        times: u32,
    },
    /// The answer has more parts than anybody's DRBD.
    #[error("the answer for {question} has more than {most} parts")]
    TooLong {
        /// What was asked.
        question: &'static str,
        /// How many are taken.
        most: usize,
    },
    /// The answer is no netlink.
    #[error("the answer for {question} is damaged")]
    Malformed {
        /// What was asked.
        question: &'static str,
        /// Where.
        #[source]
        source: FramingError,
    },
    /// The socket failed.
    #[error("the netlink socket failed")]
    Io(#[source] io::Error),
}
