//! The `unsplit` command.

fn main() {}
