//! The use cases: what is done for a person at a terminal, and for a daemon without one. No screen, no words of a command
//! line, no exit codes: [`failure::Kind`] says what kind of failure it was, and whoever drives renders, asks and exits.
//!
//! | file | holds |
//! |---|---|
//! | `access` | what is to be healed, and how it is reached and read |
//! | `failure` | why a use case did not come to its end |
//! | `desk` | the state directory, its journal, and which incidents are open |
//! | `sides` | two sides, opened; `there`: one of them on a peer |
//! | `nodes`, `both` | this node and its peer, asked about running resources |
//! | `contents` | comparing contents |
//! | `volumes`, `turns` | the volumes of a running resource, several at once |
//! | `in_use` | who uses the side that would be overwritten |
//! | `draw` | from what was found to a plan |
//! | `driver` | who drives: what is asked and told while a use case is under way |
//! | `opened` | the one place where backends are opened |
//! | `heal` | drawn, agreed to, run |
//! | `run` | a plan by its id, and what was cut off |
//! | `undo`, `discarded` | putting back what a healing overwrote, or what DRBD itself discarded |
//! | `salvages` | the kept copies: whose they are, and how each is put back |
//! | `give_up` | ending an incident as it is |

pub mod access;
pub mod both;
pub mod contents;
pub mod desk;
pub mod discarded;
pub mod draw;
pub mod driver;
pub mod failure;
pub mod give_up;
pub mod heal;
pub mod in_use;
pub mod nodes;
pub mod opened;
pub mod run;
pub mod salvages;
pub mod sides;
pub mod there;
pub mod turns;
pub mod undo;
pub mod volumes;
