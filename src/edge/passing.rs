//! Who holds something only in passing. Udev's probes hold a device for milliseconds; and a child that another thread has
//! just forked has, until it runs its program, every descriptor of this process, with the locks that stand on them: a lock
//! that this process has given back is still held then. Nobody is accused before he has stayed.

use std::path::Path;
use std::time::{Duration, Instant};

/// How long somebody who is seen must stay to be in the way.
pub(super) const SEEN: Duration = Duration::from_millis(400);
/// The same for somebody who is not seen: a program that has just begun, or has ended, gives back what it had inherited or held
/// a moment after that can be seen of it, and when it gets to that is a matter of load.
pub(super) const UNSEEN: Duration = Duration::from_secs(3);
/// How long apart, and how often at least, a thing is tried again that somebody has: where asking itself takes long, that too.
const PAUSE: Duration = Duration::from_millis(40);
const LOOKS: u32 = 3;
/// How long a child of ours may take to run its program: under load seconds, and longer only where the disk that the
/// program is on hangs.
const LONGEST_FORK: Duration = Duration::from_secs(20);
/// `PF_FORKNOEXEC` of the kernel's linux/sched.h: forked, and has not run a program since.
const FORKED: u64 = 0x40;

/// Tries until it succeeds, or has failed for as long as its error is worth: [`SEEN`] or [`UNSEEN`] where somebody is in the
/// way, no time at all otherwise. While a child of this process has not run its program yet, nothing is counted.
pub(super) fn outwait<T, E>(
    mut attempt: impl FnMut() -> Result<T, E>,
    worth: impl Fn(&E) -> Duration,
) -> Result<T, E> {
    let until = Instant::now() + LONGEST_FORK;
    let (mut stayed, mut looks) = (Duration::ZERO, 1);
    loop {
        let began = Instant::now();
        let error = match attempt() {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let worth = worth(&error);
        if worth.is_zero() || (stayed >= worth && looks >= LOOKS) {
            return Err(error);
        }
        std::thread::sleep(PAUSE);
        if Instant::now() > until || !child_is_forked() {
            stayed += began.elapsed();
            looks += 1;
        }
    }
}

/// Whether this process is a child of ours that has not run its program yet: what it holds, it is about to give back.
pub(super) fn is_forked_child(proc: &Path, pid: &str) -> bool {
    let stat = std::fs::read_to_string(proc.join(pid).join("stat"));
    stat.is_ok_and(|stat| is_forked(&stat, std::process::id()))
}

fn child_is_forked() -> bool {
    let proc = Path::new("/proc");
    let entries = std::fs::read_dir(proc).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.bytes().all(|b| b.is_ascii_digit())).any(|pid| is_forked_child(proc, &pid))
}

/// proc(5): id, name in brackets (with anything in it), state, parent, process group, session, terminal, its group, flags.
fn is_forked(stat: &str, parent: u32) -> bool {
    let Some((_, rest)) = stat.rsplit_once(')') else { return false };
    let mut fields = rest.split_ascii_whitespace();
    // Who has ended holds nothing any more.
    let lives = fields.next().is_some_and(|state| !["Z", "X", "x"].contains(&state));
    let ours = fields.next().and_then(|id| id.parse().ok()) == Some(parent);
    let flags: Option<u64> = fields.nth(4).and_then(|flags| flags.parse().ok());
    lives && ours && flags.is_some_and(|flags| flags & FORKED != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_stat() {
        let line = |state: &str, parent: u32, flags: u64| {
            format!("17731 (a) R (b c) {state} {parent} 17726 8705 0 -1 {flags} 101 0 0 0 0\n")
        };
        assert!(is_forked(&line("S", 7, 0x40_0040), 7));
        assert!(!is_forked(&line("S", 7, 0x40_0000), 7), "it runs its program");
        assert!(!is_forked(&line("Z", 7, 0x40_0040), 7), "it has ended");
        assert!(!is_forked(&line("S", 8, 0x40_0040), 7), "not ours");
        for bad in ["", ")", "1 (x", "1 (x) S", "1 (x) S 7 1 1 1 1", "1 (x) S 7 1 1 1 1 x"] {
            assert!(!is_forked(bad, 7), "{bad}");
        }
    }

    #[test]
    fn who_stays_is_in_the_way_and_other_failures_come_at_once() {
        let mut tries = 0;
        let mut attempt = || -> Result<(), bool> {
            tries += 1;
            Err(true)
        };
        assert_eq!(outwait(&mut attempt, |held| if *held { SEEN } else { Duration::ZERO }), Err(true));
        assert!(tries >= LOOKS, "{tries}");
        let mut tries = 0;
        let end = outwait(
            || {
                tries += 1;
                Err::<(), bool>(false)
            },
            |held| if *held { SEEN } else { Duration::ZERO },
        );
        assert_eq!((end, tries), (Err(false), 1));
    }
}
