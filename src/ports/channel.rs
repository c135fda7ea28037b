//! A two-way stream of messages between two agents: in order, each delivered whole or not at all.
//!
//! What carries it (a pipe, ssh, TLS) is the adapter's matter. The two halves are apart so that one thread can send
//! while another receives: neither disk, processor nor link needs to wait for the others.

use std::io;

/// The longest message, in bytes. A longer one is a defect of the sender or a hostile peer; receivers refuse it before
/// they reserve memory for it.
pub const LONGEST_MESSAGE: usize = 1 << 20;

/// Why a message could not be sent or received. Nothing is known about what the peer did meanwhile.
#[derive(Debug, thiserror::Error)]
pub enum ChannelFault {
    /// The peer ended the stream, or its process died.
    #[error("the connection to the peer was closed")]
    Closed,
    /// A message is longer than [`LONGEST_MESSAGE`].
    #[error("a message of {0} bytes is longer than the {LONGEST_MESSAGE} allowed")]
    TooLong(u64),
    /// What arrived is no message.
    #[error("what the peer sent is damaged or is no message of ours: {0}")]
    Corrupt(String),
    /// The peer neither sent nor took anything for that many seconds. It may be slow, gone or cut off.
    #[error("the peer was silent for {0} seconds")]
    TimedOut(u64),
    /// The peer is there, and owes something, and got no further for that many seconds.
    #[error("the peer is there, but got no further for {0} seconds with what it was asked")]
    Stuck(u64),
    /// The peer does not do what the channel was opened for.
    #[error("{0}")]
    Refused(String),
    /// The stream failed.
    #[error("the connection to the peer failed")]
    Io(#[source] io::Error),
}

/// The sending half.
pub trait Sender: Send {
    /// Hands over one message; it may wait in a buffer until [`Sender::flush`].
    ///
    /// # Errors
    /// [`ChannelFault`]; the channel is then of no further use.
    fn send(&mut self, message: &[u8]) -> Result<(), ChannelFault>;
    /// Lets everything handed over so far go out.
    ///
    /// # Errors
    /// [`ChannelFault`]; the channel is then of no further use.
    fn flush(&mut self) -> Result<(), ChannelFault>;
}

/// The receiving half.
pub trait Receiver: Send {
    /// Waits for the next message.
    ///
    /// # Errors
    /// [`ChannelFault`]; the channel is then of no further use.
    fn receive(&mut self) -> Result<Vec<u8>, ChannelFault>;
}
