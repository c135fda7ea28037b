//! The kernel's generic netlink socket.

use drbd_sys::netlink::generic as sys;
use netlink_sys::{Socket, SocketAddr};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Room for one datagram, in bytes. The kernel makes dumps of up to 32 KiB and notifications of a page or little more.
const DATAGRAM: usize = 128 << 10;
/// Room asked for what waits to be fetched, in bytes; the kernel grants what `net.core.rmem_max` allows.
const WAITING: i32 = 4 << 20;

/// Why nothing was received or sent.
#[derive(Debug, thiserror::Error)]
pub enum WireFault {
    /// Nothing came in time.
    #[error("nothing came in time")]
    TimedOut,
    /// The kernel dropped messages because they were not fetched fast enough.
    #[error("messages were lost")]
    Lost,
    /// The socket failed.
    #[error("the netlink socket failed")]
    Io(#[from] io::Error),
}

/// A socket of the generic netlink bus: datagrams to and from the kernel.
pub trait Wire {
    /// Sends a request.
    ///
    /// # Errors
    /// [`WireFault`].
    fn send(&mut self, message: &[u8]) -> Result<(), WireFault>;
    /// Waits for the next datagram, at the latest until `until`.
    ///
    /// # Errors
    /// [`WireFault`]. After [`WireFault::Lost`] the socket goes on.
    fn receive(&mut self, until: Instant) -> Result<Vec<u8>, WireFault>;
    /// Joins a multicast group; joining again changes nothing.
    ///
    /// # Errors
    /// [`WireFault`].
    fn join(&mut self, group: u32) -> Result<(), WireFault>;
}

/// Opens sockets.
pub trait Open {
    /// What it opens.
    type Wire: Wire;
    /// Opens one.
    ///
    /// # Errors
    /// [`WireFault`].
    fn open(&mut self) -> Result<Self::Wire, WireFault>;
    /// The DRBD module's own version; `None` where none is told.
    ///
    /// # Errors
    /// [`WireFault`].
    fn module_version(&mut self) -> Result<Option<String>, WireFault>;
}

/// Where a loaded module tells its version (Linux, `Documentation/ABI/stable/sysfs-module`).
const MODULE_VERSION: &str = "/sys/module/drbd/version";
/// Longest version that is read of it, in bytes.
const VERSION_BYTES: u64 = 100;

/// This machine's kernel.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kernel;

impl Open for Kernel {
    type Wire = KernelSocket;

    fn open(&mut self) -> Result<KernelSocket, WireFault> {
        let mut socket = Socket::new(sys::NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        // Less room only means that loss is noticed, and everything read anew, more often.
        if let Err(error) = socket.set_rx_buf_sz(WAITING) {
            tracing::debug!(%error, "the netlink socket keeps its default buffer");
        }
        Ok(KernelSocket { socket })
    }

    fn module_version(&mut self) -> Result<Option<String>, WireFault> {
        let file = match File::open(MODULE_VERSION) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(WireFault::Io(error)),
        };
        let mut text = String::new();
        file.take(VERSION_BYTES).read_to_string(&mut text)?;
        Ok(Some(text.trim().to_owned()))
    }
}

/// A socket of this machine's kernel.
#[derive(Debug)]
pub struct KernelSocket {
    socket: Socket,
}

fn fault(error: io::Error) -> WireFault {
    match error.raw_os_error() {
        Some(sys::ENOBUFS) => WireFault::Lost,
        _ => WireFault::Io(error),
    }
}

impl KernelSocket {
    /// Waits until something can be read.
    fn wait(&self, until: Instant) -> Result<(), WireFault> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(WireFault::TimedOut);
        }
        // Whole milliseconds and one more, so that the last round does not spin.
        let left =
            Duration::from_millis(u64::try_from(left.as_millis()).unwrap_or(u64::MAX).saturating_add(1));
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        match poll(&mut [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(WireFault::Io(errno.into())),
        }
    }
}

impl Wire for KernelSocket {
    fn send(&mut self, message: &[u8]) -> Result<(), WireFault> {
        let sent = self.socket.send_to(message, &SocketAddr::new(0, 0), 0).map_err(fault)?;
        if sent == message.len() {
            Ok(())
        } else {
            Err(WireFault::Io(io::Error::new(io::ErrorKind::WriteZero, "a request was sent in part")))
        }
    }

    fn receive(&mut self, until: Instant) -> Result<Vec<u8>, WireFault> {
        loop {
            let mut datagram = Vec::with_capacity(DATAGRAM);
            match self.socket.recv_from(&mut datagram, sys::MSG_TRUNC) {
                // What did not fit is lost.
                Ok((length, _)) if length > datagram.len() => return Err(WireFault::Lost),
                // Only the kernel has port 0; what another process sends is none of its words.
                Ok((_, sender)) if sender.port_number() != 0 => {}
                Ok(_) => return Ok(datagram),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(until)?;
                    continue;
                }
                Err(error) => return Err(fault(error)),
            }
            if Instant::now() >= until {
                return Err(WireFault::TimedOut);
            }
        }
    }

    fn join(&mut self, group: u32) -> Result<(), WireFault> {
        self.socket.add_membership(group).map_err(fault)
    }
}
