//! Socket options and addresses that only C names.

use std::ffi::c_int;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// `ETH_P_ALL`: frames of every type, before any protocol takes them.
const EVERY_PROTOCOL: u16 = 3;
/// TPID of a tag in metadata where the kernel does not name one.
const DEFAULT_TPID: u16 = 0x8100;

/// A frame as a packet socket hands it out.
#[derive(Clone, Copy)]
pub(super) struct Received {
    /// Its whole length, also where the buffer was too short for it.
    pub(super) length: usize,
    /// The outermost tag, which the kernel may have moved out of the frame: TPID and control.
    pub(super) tag: Option<[u8; 4]>,
}

/// Sets an option that is an integer.
pub(super) fn set_option(
    socket: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    value: c_int,
) -> io::Result<()> {
    let value = value.to_ne_bytes();
    // SAFETY: the pointer and the length are those of `value`, which the kernel only reads.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_ptr().cast(),
            socklen(value.len()),
        )
    };
    succeeded(result)
}

/// Reads the bytes of an option, as the kernel lays them out.
pub(super) fn option<const LENGTH: usize>(
    socket: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
) -> io::Result<[u8; LENGTH]> {
    let mut value = [0; LENGTH];
    let mut length = socklen(LENGTH);
    // SAFETY: the pointer and the length are those of `value`, and the kernel writes no more.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    succeeded(result)?;
    Ok(value)
}

/// Makes a packet socket take only one byte of frames that have a certain byte, and no others.
pub(super) fn attach_filter(socket: BorrowedFd<'_>, offset: u32, value: u8) -> io::Result<()> {
    let step =
        |code, jump_else, operand| libc::sock_filter { code, jt: 0, jf: jump_else, k: operand };
    let (load_byte, jump_if_equal, end) = (0x30, 0x15, 0x06);
    let mut steps = [
        step(load_byte, 0, offset),
        step(jump_if_equal, 1, value.into()),
        step(end, 0, 1),
        step(end, 0, 0),
    ];
    let program = libc::sock_fprog { len: 4, filter: steps.as_mut_ptr() };
    // SAFETY: the pointer and the length are those of `program`, which points at four steps; the
    // kernel copies them.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            socklen(size_of_val(&program)),
        )
    };
    succeeded(result)
}

/// Makes a packet socket receive every frame of one interface.
pub(super) fn bind_to_interface(socket: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: AddressFamily::PACKET.as_raw(),
        sll_protocol: EVERY_PROTOCOL.to_be(),
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the pointer and the length are those of `address`, which the kernel only reads.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            socklen(size_of::<libc::sockaddr_ll>()),
        )
    };
    succeeded(result)
}

/// The cookie of the network namespace that this thread is in.
pub(super) fn own_cookie() -> io::Result<u64> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_NETNS_COOKIE).map(u64::from_ne_bytes)
}

/// Takes the next frame off a packet socket that has `PACKET_AUXDATA` on.
pub(super) fn receive_frame(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    let mut bytes = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut ancillary = [0_u64; 16];
    // SAFETY: all zeroes is a message without address, bytes and ancillary data.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut bytes;
    message.msg_iovlen = 1;
    message.msg_control = ancillary.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&ancillary);
    // SAFETY: the message points at `buffer` and `ancillary` with their own lengths, and both live
    // until it has been read.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_TRUNC) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    Ok(Received { length, tag: auxiliary_data(&message).and_then(tag) })
}

/// Finds what the kernel says beside a frame.
fn auxiliary_data(message: &libc::msghdr) -> Option<libc::tpacket_auxdata> {
    // SAFETY: the kernel has filled the message, so its ancillary data are a list of headers.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: a header that is not null lies within the ancillary data; they are aligned for it.
    while let Some(header) = unsafe { next.as_ref() } {
        if (header.cmsg_level, header.cmsg_type) == (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
            // SAFETY: these bytes are what the kernel writes for this level and type.
            return Some(unsafe { ptr::read_unaligned(libc::CMSG_DATA(header).cast()) });
        }
        // SAFETY: the header is one of this message.
        next = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    None
}

/// The tag that was taken out of a frame.
fn tag(data: libc::tpacket_auxdata) -> Option<[u8; 4]> {
    let says = |flag| data.tp_status & flag != 0;
    let tpid = if says(libc::TP_STATUS_VLAN_TPID_VALID) { data.tp_vlan_tpid } else { DEFAULT_TPID };
    let ([t0, t1], [c0, c1]) = (tpid.to_be_bytes(), data.tp_vlan_tci.to_be_bytes());
    says(libc::TP_STATUS_VLAN_VALID).then_some([t0, t1, c0, c1])
}

fn succeeded(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn socklen(length: usize) -> libc::socklen_t {
    libc::socklen_t::try_from(length).expect("a structure is shorter than 4 GiB")
}
