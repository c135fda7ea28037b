//! How a salvage is opened without unsplit: the words on the screen.
//!
//! The overlay reads all that it does not hold from a device that DRBD writes to. DRBD writes past the page cache of that device, so
//! what is cached of it may be old, and a file system of old and new blocks looks damaged. Devices are therefore read past the
//! cache, too.

use crate::cli::screen::Screen;
use crate::model::salvage::{Manifest, Part};
use crate::model::shell::shell_word;
use crate::resolver::salvages::Behind;
use std::path::Path;

/// How the victim's data is opened.
///
/// # Errors
/// When standard output is closed.
pub(super) fn show(
    screen: &mut Screen,
    manifest: &Manifest,
    part: &Part,
    path: &str,
    behind: &Behind,
) -> std::io::Result<()> {
    let (victim, file) = (&manifest.victim_name, shell_word(path));
    screen.heading(&format!("To look at {victim} as it was"))?;
    if let Some(backing) = &part.backing {
        let past = !Path::new(backing).is_file();
        let (nbd, img) = if past { (" --cache=none", " -T none") } else { ("", "") };
        screen.line(format!("  qemu-nbd --read-only{nbd} --connect=/dev/nbd0 {file}"))?;
        screen.line(format!("  qemu-img convert{img} -O raw {file} {victim}-as-it-was.img"))?;
        screen.line(format!("Both read the rest from {backing}, which must not have changed since."))?;
        if past {
            screen.line(PAST_THE_CACHE)?;
        }
        return Ok(());
    }
    let survivor = &manifest.survivor_name;
    let copy = format!("{victim}-as-it-was.qcow2");
    screen.line(format!("It holds what {victim} lost, and zeros elsewhere. For all of {victim}, put {survivor}'s data behind a copy of it:"))?;
    let behind = match behind {
        Behind::Device(path) => shell_word(path),
        Behind::LowerDevice(volume) => format!("\"$(drbdadm sh-ll-dev {volume})\""),
        Behind::Unknown => format!("COPY-OF-{survivor}"),
    };
    screen.line(format!("  cp {file} {copy}"))?;
    screen.line(format!("  qemu-img rebase -u -F raw -b {behind} {copy}"))?;
    screen.line(format!("  qemu-img convert -T none -O raw {copy} {victim}-as-it-was.img"))?;
    if !behind.starts_with("COPY-OF-") {
        screen.line(format!(
            "{victim}'s own device holds {survivor}'s data since; it must not have changed otherwise."
        ))?;
    }
    screen.line(PAST_THE_CACHE)
}

const PAST_THE_CACHE: &str = "\"none\" reads past the page cache, which may hold old blocks of a device that DRBD writes to. Where the \
    folder's file system\nrefuses that (\"does not support O_DIRECT\"), type `blockdev --flushbufs DEVICE` first and leave it out.";
