//! Running resources: this node, and its peer when `--peer` names one.
//!
//! | file | holds |
//! |---|---|
//! | `target` | which words of a command line mean what |
//! | `in_use` | who uses the side that would be overwritten |
//! | `diff`, `status` | the commands, about one resource |
//! | `chosen`, `several`, `list` | about several: which, what is done, what came of each |
//! | `ending` | how a run ended |

mod chosen;
pub mod diff;
pub(super) mod ending;
pub mod in_use;
pub mod list;
mod page;
pub mod several;
pub mod status;
mod target;

pub use target::{OneTargetArgs, TargetArgs, meant, words_of};
