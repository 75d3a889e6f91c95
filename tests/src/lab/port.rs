//! Sending and receiving whole frames on an interface.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socket_with};

use super::Namespace;
use super::socket::{Received, bind_to_interface, option, receive_frame, set_option};

/// No frame is longer: the largest MTU that Linux allows, with headers and tags.
const LONGEST_FRAME: usize = 65_535 + 64;
/// Where a tag stands in a frame: after both addresses.
const TAG_POSITION: usize = 12;
/// Room for some ten thousand frames that nobody has taken yet.
const RECEIVE_BUFFER: usize = 16 << 20;

/// A raw socket on one interface: what is sent on it leaves the interface as it is, and what the
/// interface receives arrives here as it was on the wire.
///
/// Frames appear after an XDP program has passed them and before any protocol of the kernel looks
/// at them. Frames that this machine sends on the interface do not appear. The kernel discards
/// a frame with a tag of TPID 0x8100 or 0x88a8 that is shorter than 20 bytes before it gets here.
#[derive(Debug)]
pub struct Port {
    /// Where the port is, for messages.
    place: String,
    socket: OwnedFd,
}

impl Port {
    /// Opens a port on an interface of a namespace. It receives from now on.
    ///
    /// # Errors
    ///
    /// When the interface is not there, or when the kernel refuses.
    pub fn open(namespace: &Namespace, interface: &str) -> Result<Self> {
        let place = format!("{interface} in {namespace}");
        let socket = namespace
            .run(|| open_socket(interface))
            .with_context(|| format!("opening a port on {place}"))?;
        Ok(Self { place, socket })
    }

    /// Sends a frame.
    ///
    /// # Errors
    ///
    /// When the interface is down, the frame is longer than its MTU allows or shorter than an
    /// Ethernet header, or when a veth has no room for it (newer kernels say so, older ones drop it).
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = send(self.socket.as_fd(), frame, SendFlags::empty())
            .with_context(|| format!("sending a frame of {} bytes on {self}", frame.len()))?;
        ensure!(sent == frame.len(), "{self} took {sent} of {} bytes", frame.len());
        Ok(())
    }

    /// Waits for the next frame; `None` when there is none in time.
    ///
    /// # Errors
    ///
    /// When the interface goes down or the socket fails.
    pub fn receive(&self, timeout: Duration) -> Result<Option<Vec<u8>>> {
        self.receive_before(Instant::now() + timeout)
    }

    /// Receives frames until they satisfy the condition.
    ///
    /// # Errors
    ///
    /// When that has not happened in time, or the socket fails.
    pub fn collect_until(
        &self,
        timeout: Duration,
        mut enough: impl FnMut(&[Vec<u8>]) -> bool,
    ) -> Result<Vec<Vec<u8>>> {
        let deadline = Instant::now() + timeout;
        let mut frames = Vec::new();
        while !enough(&frames) {
            match self.receive_before(deadline)? {
                Some(frame) => frames.push(frame),
                None => bail!(
                    "{self} received {} frames in {timeout:?}, and that is not what was waited for",
                    frames.len()
                ),
            }
        }
        Ok(frames)
    }

    /// Receives so many frames.
    ///
    /// # Errors
    ///
    /// When there are fewer in time, or the socket fails.
    pub fn collect(&self, count: usize, timeout: Duration) -> Result<Vec<Vec<u8>>> {
        self.collect_until(timeout, |frames| frames.len() == count)
    }

    /// How many frames the port lost since the last call because nobody took them in time.
    ///
    /// # Errors
    ///
    /// When the socket fails.
    pub fn lost(&self) -> Result<u32> {
        let [_, lost] = self.statistics()?;
        Ok(lost)
    }

    /// How many frames came since the last call, or since [`lost`](Self::lost) was asked: those that
    /// were taken, those that wait, and those that the port lost.
    ///
    /// # Errors
    ///
    /// When the socket fails.
    pub fn arrived(&self) -> Result<u32> {
        let [arrived, _] = self.statistics()?;
        Ok(arrived)
    }

    /// Takes what waits and forgets it.
    ///
    /// # Errors
    ///
    /// When the interface goes down or the socket fails.
    pub fn discard(&self) -> Result<()> {
        let now = Instant::now();
        while self.receive_before(now)?.is_some() {}
        Ok(())
    }

    /// Frames that came, and those of them that were lost. The kernel starts again from 0 then.
    fn statistics(&self) -> Result<[u32; 2]> {
        let [a, b, c, d, e, f, g, h] =
            option::<8>(self.socket.as_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS)
                .with_context(|| format!("reading the statistics of {self}"))?;
        Ok([[a, b, c, d], [e, f, g, h]].map(u32::from_ne_bytes))
    }

    pub(super) fn receive_before(&self, deadline: Instant) -> Result<Option<Vec<u8>>> {
        self.next_frame(deadline).with_context(|| format!("receiving on {self}"))
    }

    fn next_frame(&self, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; LONGEST_FRAME];
        loop {
            match receive_frame(self.socket.as_fd(), &mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.readable_before(deadline)? {
                        return Ok(None);
                    }
                }
                received => return whole_frame(buffer, received?).map(Some),
            }
        }
    }

    fn readable_before(&self, deadline: Instant) -> io::Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            let mut waiting = [PollFd::new(&self.socket, PollFlags::IN)];
            match poll(&mut waiting, Some(&timeout)) {
                Err(Errno::INTR) => {}
                ready => return Ok(ready? > 0),
            }
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

fn open_socket(interface: &str) -> Result<OwnedFd> {
    // Protocol 0: nothing is received before the socket knows its interface.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
    let index = name_to_index(&socket, interface).context("there is no such interface")?;
    for option in [libc::PACKET_AUXDATA, libc::PACKET_IGNORE_OUTGOING] {
        set_option(socket.as_fd(), libc::SOL_PACKET, option, 1)?;
    }
    set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER)?;
    bind_to_interface(socket.as_fd(), index)?;
    Ok(socket)
}

/// Cuts the buffer to the frame and puts a tag back that the kernel had taken out.
fn whole_frame(mut buffer: Vec<u8>, received: Received) -> io::Result<Vec<u8>> {
    if received.length > buffer.len() {
        return Err(io::Error::other(format!("a frame of {} bytes", received.length)));
    }
    buffer.truncate(received.length);
    // Thousands of short frames would otherwise hold the room of as many long ones.
    buffer.shrink_to_fit();
    if let Some(tag) = received.tag {
        buffer.splice(TAG_POSITION..TAG_POSITION, tag);
    }
    Ok(buffer)
}
