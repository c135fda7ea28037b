//! The other node: reached over any byte stream, with an `unsplit agent` at its other end.
//!
//! | file | holds |
//! |---|---|
//! | `spec` | how a peer is named: `ssh:HOST`, `exec:COMMAND` |
//! | `line` | frames over a stream, the same for both ends |
//! | `lane` | channels beside the requests |
//! | `greet` | the greeting, and what can be wrong with it |
//! | `session` | asking, connecting, and connecting again |
//! | `told` | what the agent said was wrong, as our errors |
//! | `disk` | a disk over there |
//! | `replica` | a replica over there |
//! | `node` | the node itself: its running DRBD |

pub mod disk;
pub mod greet;
pub mod lane;
pub mod line;
pub mod node;
pub mod replica;
pub mod session;
pub mod spec;
pub mod told;

pub use node::RemoteNode;
pub use replica::RemoteReplica;
pub use session::{Limits, Session};
pub use spec::PeerSpec;
