//! Counting frames that nobody could take one by one.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use rustix::net::netdevice::name_to_index;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::Link;
use super::socket::{attach_filter, bind_to_interface, option, set_option};

/// Counts the frames that the kernel gets to see on an interface and that have a certain byte, at
/// any rate: they are counted where a packet socket would queue them, whether it has room or not.
#[derive(Debug)]
pub struct Census {
    place: String,
    socket: OwnedFd,
    counted: AtomicU64,
}

impl Census {
    /// Counts from now on the frames on `link` whose byte at `offset` has this value.
    ///
    /// # Errors
    ///
    /// When the interface is not there, or when the kernel refuses.
    pub fn open(link: &Link, offset: u32, value: u8) -> Result<Self> {
        let place = format!("{link}, byte {offset} is {value}");
        let open = || -> Result<OwnedFd> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
            let index = name_to_index(&socket, link.name())?;
            // Nothing is taken off the socket, and what is not queued costs nothing.
            set_socket_recv_buffer_size(&socket, 0)?;
            attach_filter(socket.as_fd(), offset, value)?;
            set_option(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
            bind_to_interface(socket.as_fd(), index)?;
            Ok(socket)
        };
        let socket =
            link.namespace().run(open).with_context(|| format!("counting frames on {place}"))?;
        Ok(Self { place, socket, counted: AtomicU64::new(0) })
    }

    /// How many frames there were since the start.
    ///
    /// # Errors
    ///
    /// When the socket fails.
    pub fn count(&self) -> Result<u64> {
        let [a, b, c, d, ..] =
            option::<8>(self.socket.as_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS)
                .with_context(|| format!("reading the count on {self}"))?;
        let more = u64::from(u32::from_ne_bytes([a, b, c, d]));
        Ok(self.counted.fetch_add(more, Ordering::Relaxed) + more)
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}
