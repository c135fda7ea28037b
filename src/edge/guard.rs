//! Files mapped into memory, guarded: a page that cannot be had (the file shrank, the disk failed) does not
//! end the process, but marks what was seen as void.
//!
//! The kernel tells of such a page by the signal SIGBUS. A handler, installed once, looks whether the
//! address is in one of our segments; if so it puts zeros in the place of the whole segment, marks it as
//! broken, and lets the reader go on. Who looked asks afterwards ([`Segment::look`]) and then knows that
//! what he saw means nothing. Any other SIGBUS goes to whoever handled it before.
#![allow(unsafe_code)]

use memmap2::{MmapOptions, MmapRaw, UncheckedAdvice};
use nix::libc;
use std::fs::File;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, compiler_fence};

/// Length of every segment in bytes: unmapping one interrupts all processors that this process uses. The page tables of one
/// are 128 KiB.
pub(super) const SEGMENT: usize = 64 << 20;
/// Most segments at a time, in the whole process.
const MOST: usize = 64;

/// Where a segment is, for the handler.
struct Place {
    /// Address of its first byte; 0: no segment.
    base: AtomicUsize,
    broken: AtomicBool,
}

static PLACES: [Place; MOST] =
    [const { Place { base: AtomicUsize::new(0), broken: AtomicBool::new(false) } }; MOST];

/// Whose turn it was to handle SIGBUS before us; `None`: the handler could not be installed.
static FORMER: OnceLock<Option<libc::sigaction>> = OnceLock::new();

/// A part of a file, mapped for reading.
pub(super) struct Segment {
    map: MmapRaw,
    place: &'static Place,
}

impl Segment {
    /// Maps [`SEGMENT`] bytes of `file` from `offset` on, which is a multiple of it; the file may end
    /// earlier. Nothing where that cannot be done, or cannot be guarded.
    pub(super) fn new(file: &File, offset: u64) -> Option<Segment> {
        if FORMER.get_or_init(install).is_none() {
            return None;
        }
        let map = MmapOptions::new().offset(offset).len(SEGMENT).map_raw_read_only(file).ok()?;
        let base = map.as_ptr().addr();
        let free = |place: &&Place| {
            place.base.compare_exchange(0, base, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let place = PLACES.iter().find(free)?;
        // Nobody has looked yet, so the handler cannot have set it for this segment.
        place.broken.store(false, Ordering::Release);
        Some(Segment { map, place })
    }

    /// Shows `range` of the segment. What was seen means nothing if the answer is no: a page could not be
    /// had. The bytes may change at any time, so `see` must not look at any twice and rely on having seen the same.
    pub(super) fn look(&self, range: Range<usize>, see: &mut dyn FnMut(&[u8])) -> bool {
        if range.start > range.end || range.end > SEGMENT || self.broken() {
            return false;
        }
        // SAFETY: the range lies inside the mapping, which is `SEGMENT` bytes long (asked for in `new`, and
        // the handler replaces all of it by as many zeros), readable, and stays until `self` is dropped;
        // the slice does not outlive this call. Pages that the file does not have end in the handler, not in
        // undefined behaviour. This process never writes to the mapping; another one may change the file
        // meanwhile, as with every mapped file, which Rust's rules for `&[u8]` do not foresee. So who looks
        // only compares, by calls of `memcmp`: whatever the answer is, it was true of some bytes that the
        // file had, and no decision is taken twice. What differs is read again into a buffer of our own.
        let bytes = unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(range.start), range.len()) };
        see(bytes);
        compiler_fence(Ordering::SeqCst);
        !self.broken()
    }

    /// Takes the pages of `range` out of this process's page tables; they come back when they are looked at.
    pub(super) fn leave(&self, range: Range<usize>) {
        if range.start >= range.end || range.end > SEGMENT {
            return;
        }
        let advice = UncheckedAdvice::DontNeed;
        // Only a hint: what cannot be let go now goes with the segment.
        // SAFETY: the range lies inside the mapping and is not empty. The mapping is of a file and only read, so that pages
        // come back with what the file holds (or as zeros, where the handler put them): nothing is lost, also for
        // somebody who looks at them now.
        let _ = unsafe { self.map.unchecked_advise_range(advice, range.start, range.len()) };
    }

    fn broken(&self) -> bool {
        self.place.broken.load(Ordering::SeqCst)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // Before the mapping goes: its addresses may belong to somebody else right after.
        self.place.base.store(0, Ordering::SeqCst);
    }
}

/// Installs the handler; whose turn it was before.
fn install() -> Option<libc::sigaction> {
    // SAFETY: `sigaction` is a struct of plain numbers, for which zeros are valid: no flags, an empty mask.
    // Both structs live here while the call reads the one and writes the other. The handler has the
    // signature that SA_SIGINFO asks for and calls only what may be called in a handler (see there).
    unsafe {
        let mut ours: libc::sigaction = std::mem::zeroed();
        let mut former: libc::sigaction = std::mem::zeroed();
        ours.sa_sigaction = on_sigbus as extern "C" fn(_, _, _) as usize;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        (libc::sigaction(libc::SIGBUS, &raw const ours, &raw mut former) == 0).then_some(former)
    }
}

/// The handler. Uses nothing but atomic loads and stores, `mmap`, `sigaction` and `raise`.
extern "C" fn on_sigbus(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid `siginfo_t` to a handler with SA_SIGINFO; the address is set in it
    // when the kernel itself sent the signal (a code above 0), else it is not looked at.
    let (code, at) = unsafe { ((*info).si_code, (*info).si_addr().addr()) };
    let hit = |place: &&Place| {
        let base = place.base.load(Ordering::SeqCst);
        base != 0 && at.wrapping_sub(base) < SEGMENT
    };
    if code > 0
        && let Some(place) = PLACES.iter().find(hit)
    {
        place.broken.store(true, Ordering::SeqCst);
        if blank(place.base.load(Ordering::SeqCst)) {
            return;
        }
    }
    pass_on(signal, code, info, context);
}

/// Puts zeros where a segment was.
fn blank(base: usize) -> bool {
    let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: `base` is a segment's: a mapping of ours of just this length, which stays until the one who
    // is looking at it now (the thread that was interrupted) has ended. All of it is replaced by memory that
    // is readable, too, so references into it stay valid. `errno` belongs to whom was interrupted and is put back.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        let end = libc::mmap(std::ptr::without_provenance_mut(base), SEGMENT, libc::PROT_READ, flags, -1, 0);
        *errno = before;
        end != libc::MAP_FAILED
    }
}

/// Hands a signal that is not ours to the former handler, or to what the system does without any.
fn pass_on(signal: libc::c_int, code: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let former = FORMER.get().and_then(Option::as_ref);
    let action = former.map_or(libc::SIG_DFL, |former| former.sa_sigaction);
    if action == libc::SIG_DFL || action == libc::SIG_IGN {
        if action == libc::SIG_IGN && code <= 0 {
            return;
        }
        // SAFETY: zeros are a valid `sigaction`: SIG_DFL, no flags, an empty mask. The instruction that
        // faulted is executed again and then ends the process; a signal that was sent is sent again.
        unsafe {
            let default: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, &raw const default, std::ptr::null_mut());
            if code <= 0 {
                libc::raise(signal);
            }
        }
        return;
    }
    let with_info = former.is_some_and(|former| former.sa_flags & libc::SA_SIGINFO != 0);
    // SAFETY: `action` is neither of the two special values, so it is the address of a function that somebody
    // installed as a handler of this signal, with the signature that its flags tell; it is called as the
    // kernel would call it.
    unsafe {
        if with_info {
            type Informed = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
            std::mem::transmute::<usize, Informed>(action)(signal, info, context);
        } else {
            std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(action)(signal);
        }
    }
    // Rust's own handler leaves what is not its stack's end to the system, by taking itself (and so us) away. A fault
    // then comes again; a signal that was sent would not, and this process would go on without its guard.
    if code <= 0 {
        // SAFETY: as in `install`; only asked what stands, nothing is changed.
        unsafe {
            let mut now: libc::sigaction = std::mem::zeroed();
            let told = libc::sigaction(signal, std::ptr::null(), &raw mut now) == 0;
            if told && now.sa_sigaction == libc::SIG_DFL {
                libc::raise(signal);
            }
        }
    }
}

#[cfg(test)]
mod tests;
