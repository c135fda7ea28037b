//! Segments of files that shrink, and signals that are not ours.

use super::*;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

fn file(len: usize) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![7; len]).unwrap();
    file
}

fn sum(segment: &Segment, range: Range<usize>) -> (bool, u64) {
    let mut sum = 0;
    let sound = segment.look(range, &mut |bytes| sum = bytes.iter().map(|byte| u64::from(*byte)).sum());
    (sound, sum)
}

#[test]
fn a_segment_shows_what_the_file_holds() {
    let file = file(100_000);
    let segment = Segment::new(&file, 0).unwrap();
    assert_eq!(sum(&segment, 0..100_000), (true, 700_000));
    assert_eq!(sum(&segment, 4095..4097), (true, 14));
    assert!(!segment.look(SEGMENT - 1..SEGMENT + 1, &mut |_| panic!("outside")));
}

#[test]
fn a_page_that_is_gone_breaks_the_segment_and_nothing_else() {
    let (file, other) = (file(100_000), file(100_000));
    let (segment, sound) = (Segment::new(&file, 0).unwrap(), Segment::new(&other, 0).unwrap());
    file.set_len(50_000).unwrap();
    assert_eq!(sum(&segment, 0..40_000), (true, 280_000));
    assert!(!sum(&segment, 0..100_000).0);
    assert!(!segment.look(0..1, &mut |_| panic!("it is broken")));
    assert_eq!(sum(&sound, 0..100_000), (true, 700_000));
    // A new one of the same file works, and the place of the old one can be used again.
    drop(segment);
    for _ in 0..2 * MOST {
        assert_eq!(sum(&Segment::new(&file, 0).unwrap(), 0..50_000), (true, 350_000));
    }
}

#[test]
fn many_threads_may_meet_the_end_at_once() {
    for _ in 0..50 {
        let file = file(1 << 20);
        let segment = Segment::new(&file, 0).unwrap();
        file.set_len(1 << 19).unwrap();
        std::thread::scope(|scope| {
            for part in 0..4 {
                let segment = &segment;
                scope.spawn(move || {
                    let begin = (1 << 19) + part * (1 << 17);
                    assert!(!sum(segment, begin..begin + (1 << 17)).0);
                });
            }
        });
    }
}

/// Ends itself by a fault outside our segments, after the handler was installed: run in a process of its own.
#[test]
#[ignore = "ends its process"]
fn dies_of_a_fault_elsewhere() {
    let file = file(8192);
    let _segment = Segment::new(&file, 0).unwrap();
    let foreign = MmapOptions::new().len(8192).map_raw_read_only(&file).unwrap();
    file.set_len(0).unwrap();
    // SAFETY: the mapping stays until the end; that the page is not there is what is tested.
    let byte = unsafe { foreign.as_ptr().read_volatile() };
    unreachable!("read {byte}");
}

#[test]
#[ignore = "ends its process"]
fn dies_of_a_signal_that_was_sent() {
    let file = file(8192);
    let _segment = Segment::new(&file, 0).unwrap();
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::BUS).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(10));
}

#[test]
fn a_signal_that_is_not_ours_ends_the_process_as_ever() {
    for name in ["dies_of_a_fault_elsewhere", "dies_of_a_signal_that_was_sent"] {
        let end = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--test-threads=1", &format!("edge::guard::tests::{name}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(end.signal(), Some(libc::SIGBUS), "{name}: {end}");
    }
}
