//! Who writes to a side without a descriptor or a lock is noticed: exit code 5, by name where the system tells. The writer is
//! this process, so that it can be one of any kind; what it must be noticed by is another one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
#![allow(unsafe_code)]
#![allow(unreachable_pub, dead_code)]

mod scene;

use nix::libc;
use scene::{Loop, Scene, is_root};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;

const HEAL: [&str; 6] = ["resolve", "a.img", "b.img", "--keep", "a", "--yes"];
const PAGE: usize = 4096;

/// The first page of a file or device in our memory, without a descriptor.
struct Mapped(*mut libc::c_void);

impl Mapped {
    /// Of a file that is opened for reading and writing; `protection` as for mmap(2).
    fn new(path: &Path, protection: i32) -> Mapped {
        let file = File::options().read(true).write(true).open(path).unwrap();
        // SAFETY: a fresh mapping at an address of the kernel's choice replaces nothing, and nothing refers to it.
        let at = unsafe {
            libc::mmap(std::ptr::null_mut(), PAGE, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        assert_ne!(at, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        Mapped(at)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made, to which nothing refers.
        unsafe { libc::munmap(self.0, PAGE) };
    }
}

/// An io_uring with one file registered and no descriptor of the file; nothing where this kernel makes none.
fn ring_over(path: &Path) -> Option<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;
    const SETUP: libc::c_long = 425;
    const REGISTER: libc::c_long = 427;
    const REGISTER_FILES: libc::c_uint = 2;
    let mut parameters = [0_u32; 30];
    // SAFETY: the call fills in 120 bytes, the length of the kernel's `struct io_uring_params`.
    let ring = unsafe { libc::syscall(SETUP, 1 as libc::c_uint, parameters.as_mut_ptr()) };
    let ring = i32::try_from(ring).ok().filter(|ring| *ring >= 0)?;
    // SAFETY: a descriptor that was just made, and that nobody else has.
    let ring = unsafe { std::os::fd::OwnedFd::from_raw_fd(ring) };
    let file = File::options().read(true).write(true).open(path).unwrap();
    let files = [file.as_raw_fd()];
    // SAFETY: the call reads one descriptor from `files`.
    let end = unsafe {
        libc::syscall(REGISTER, ring.as_raw_fd(), REGISTER_FILES, files.as_ptr(), 1 as libc::c_uint)
    };
    assert_eq!(end, 0, "{}", std::io::Error::last_os_error());
    Some(ring)
}

/// Sends a descriptor through a socket.
fn send(through: &std::os::unix::net::UnixStream, file: &File) {
    /// As the kernel's `struct cmsghdr` with one descriptor after it.
    #[repr(C)]
    struct Beside {
        len: usize,
        level: libc::c_int,
        kind: libc::c_int,
        file: libc::c_int,
        padding: libc::c_int,
    }
    let mut beside = Beside {
        len: std::mem::offset_of!(Beside, padding),
        level: libc::SOL_SOCKET,
        kind: libc::SCM_RIGHTS,
        file: file.as_raw_fd(),
        padding: 0,
    };
    let mut byte = [b'x'];
    let mut bytes = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // SAFETY: all zeros are a message without any part.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut bytes;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut beside).cast();
    message.msg_controllen = size_of::<Beside>();
    // SAFETY: every pointer in the message is to something that lives here, with its length beside it.
    let sent = unsafe { libc::sendmsg(through.as_raw_fd(), &raw const message, 0) };
    assert_eq!(sent, 1, "{}", std::io::Error::last_os_error());
}

fn us(way: &str) -> String {
    let name = fs::read_to_string("/proc/self/comm").unwrap();
    format!("process {} ({}){way}", std::process::id(), name.trim_end())
}

/// Healing is refused, whichever side is kept, and works once the writer is gone.
fn refused_while<T>(scene: &Scene, writer: T, says: &[&str]) {
    scene.gives_up(&HEAL, 5, says);
    scene.gives_up(&["resolve", "a.img", "b.img", "--keep", "b", "--yes"], 5, says);
    drop(writer);
    scene.heal();
}

#[test]
fn a_mapping_of_a_file_writes() {
    const MAPPED: &str = ", which has it mapped into its memory";
    for name in ["a.img", "b.img"] {
        let scene = Scene::split();
        let path = scene.path(name);
        let says = format!("{} is in use by {}", path.display(), us(MAPPED));
        refused_while(&scene, Mapped::new(&path, libc::PROT_READ | libc::PROT_WRITE), &[&says]);
    }
    // Not writable now, and made so by one call.
    let scene = Scene::split();
    refused_while(&scene, Mapped::new(&scene.path("b.img"), libc::PROT_READ), &[&us(MAPPED)]);
    // By another name, which is gone by then.
    let scene = Scene::split();
    let other = scene.path("another-name");
    fs::hard_link(scene.path("b.img"), &other).unwrap();
    let mapped = Mapped::new(&other, libc::PROT_READ | libc::PROT_WRITE);
    fs::remove_file(&other).unwrap();
    refused_while(&scene, mapped, &[&us(MAPPED)]);
}

#[test]
fn a_descriptor_for_both_writes() {
    let scene = Scene::split();
    let writer = File::options().read(true).write(true).open(scene.path("b.img")).unwrap();
    refused_while(&scene, writer, &[&us("")]);
}

#[test]
fn a_ring_may_write() {
    let scene = Scene::split();
    match ring_over(&scene.path("b.img")) {
        Some(ring) => refused_while(&scene, ring, &["b.img is in use"]),
        None => scene::skips::not_here("this kernel makes no io_uring"),
    }
}

/// A descriptor that is on its way through a socket is in no process's list: only the kernel's lease tells.
#[test]
fn a_descriptor_on_its_way_is_noticed() {
    let scene = Scene::split();
    let (from, to) = std::os::unix::net::UnixStream::pair().unwrap();
    let writer = File::options().read(true).write(true).open(scene.path("b.img")).unwrap();
    send(&from, &writer);
    drop(writer);
    refused_while(&scene, (from, to), &["b.img is in use", "the system does not tell by whom"]);
}

#[test]
fn a_mapping_of_a_device_writes() {
    let scene = Scene::split();
    let Some(device) = Loop::over(&scene.path("b.img"), false) else { return };
    let heal = ["resolve", "a.img", &device.0, "--keep", "a", "--yes"];
    let mapped = Mapped::new(Path::new(&device.0), libc::PROT_READ | libc::PROT_WRITE);
    scene.gives_up(&heal, 5, &[&us(", which has it mapped into its memory")]);
    drop(mapped);
    // Through a node of another name, in another folder.
    let node = scene.path("node");
    let minor = device.0.trim_start_matches("/dev/loop");
    let made = Command::new("mknod").arg(&node).args(["b", "7", minor]).status();
    if !made.is_ok_and(|status| status.success()) {
        return scene::skipped("no device node can be made here");
    }
    let mapped = Mapped::new(&node, libc::PROT_READ | libc::PROT_WRITE);
    scene.gives_up(&heal, 5, &[&us(", which has it mapped into its memory")]);
    drop(mapped);
    let opened = File::options().read(true).write(true).open(&node).unwrap();
    scene.gives_up(&heal, 5, &[&us("")]);
    drop(opened);
    scene.run(&heal).says(0, &["Healed: b now equals a"]);
}

/// Through an overlay, another file by its numbers; the kernel counts who writes to the one below.
#[test]
fn a_writer_through_an_overlay_is_noticed() {
    let scene = Scene::split();
    let [lower, work, upper, merged] = ["lower", "work", "upper", "merged"].map(|name| scene.path(name));
    [&lower, &work, &upper, &merged].into_iter().for_each(|folder| fs::create_dir(folder).unwrap());
    fs::rename(scene.path("b.img"), upper.join("b.img")).unwrap();
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let mount =
        Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(&merged).output();
    if !is_root() || !mount.is_ok_and(|output| output.status.success()) {
        return scene::skips::not_here("no overlay can be mounted here");
    }
    let writer = File::options().read(true).write(true).open(merged.join("b.img"));
    let heal = ["resolve", "a.img", "upper/b.img", "--keep", "a", "--yes"];
    let refused = scene.run(&heal);
    drop(writer);
    let unmounted = Command::new("umount").arg(&merged).status().unwrap();
    assert!(unmounted.success());
    refused.says(5, &["b.img is in use"]);
    scene.run(&heal).says(0, &["Healed: b now equals a"]);
}
