//! Tests that cannot run here say so, and fail where everything that they need is meant to be there: with `UNSPLIT_NO_SKIP=1`,
//! as `.ci/run` sets it. A skip that nobody hears of is a test that nobody has.

#![allow(dead_code, unreachable_pub, clippy::print_stderr)]

/// A program is missing. `.ci/run` installs every one that a test needs.
pub fn lacking(what: &str) {
    assert!(std::env::var_os("UNSPLIT_NO_SKIP").is_none(), "UNSPLIT_NO_SKIP is set, and {what}");
    not_here(what);
}

/// Something that root may do where a machine is not a container without rights: loop devices, mounting, tracing.
pub fn needs_root(what: &str) {
    let root = rustix::process::geteuid().is_root();
    let excused = std::env::var_os("UNSPLIT_NO_SKIP").is_none() || !root;
    assert!(excused, "UNSPLIT_NO_SKIP is set, this is root, and {what}");
    not_here(what);
}

/// Another machine, kernel or file system is needed: no fault of this one.
pub fn not_here(what: &str) {
    eprintln!("SKIPPED: {what}");
}
