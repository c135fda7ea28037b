//! The command line: one file per command, and the rendering of what they show.

pub mod report;
