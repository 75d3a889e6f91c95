use std::io;
use std::path::PathBuf;

use super::VlanOffload;

/// Why the kernel could not be asked, or did not do what it was told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouterError {
    /// RTNETLINK does not answer.
    #[error("cannot read this router's interfaces over RTNETLINK: {source}")]
    Links {
        /// What the kernel or the socket said.
        source: io::Error,
    },
    /// RTNETLINK does not answer about the label table.
    #[error("cannot read this router's label table over RTNETLINK: {source}")]
    LabelTable {
        /// What the kernel or the socket said.
        source: io::Error,
    },
    /// Labels came and went during every attempt to list them.
    #[error("labels come and go while they are read; run the command again when they are calm")]
    LabelsKeepChanging,
    /// Interfaces came and went during every attempt to list them.
    #[error("interfaces come and go while they are read; run the command again when they are calm")]
    LinksKeepChanging,
    /// An interface exists, but its description could not be decoded.
    #[error(
        "interface {interface}: the kernel describes it in a way this version does not understand; \
         report it with the output of `ip -d link show {interface}`"
    )]
    LinkNotUnderstood {
        /// The name of the interface.
        interface: String,
    },
    /// There is no such interface in this network namespace.
    #[error("interface {interface}: not in this network namespace; `ip link` shows those that are")]
    NoSuchInterface {
        /// The name of the interface, or its index where it has no name any more.
        interface: String,
    },
    /// The caller lacks a capability.
    #[error("interface {interface}: not permitted to {action}; run as root or with CAP_NET_ADMIN")]
    NotPermitted {
        /// The name of the interface.
        interface: String,
        /// What was tried.
        action: String,
    },
    /// A BPF link holds the XDP program, so nobody but its owner can take it off.
    #[error(
        "interface {interface}: its XDP program is held by a BPF link; stop the tool that owns it, \
         or find it with `bpftool link show` and `bpftool link detach id ID`"
    )]
    HeldByLink {
        /// The name of the interface.
        interface: String,
    },
    /// The kernel refused to take an XDP program off.
    #[error(
        "interface {interface}: cannot take its XDP program off: {source}; \
         try `ip link set dev {interface} xdp off`"
    )]
    Detach {
        /// The name of the interface.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The interface's features could not be read or set.
    #[error(
        "interface {interface}: cannot {action}: {source}; \
         see what `ethtool -k {interface}` says"
    )]
    Features {
        /// The name of the interface.
        interface: String,
        /// What was tried.
        action: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The driver does not let this offload be switched.
    #[error(
        "interface {interface}: its driver keeps {offload} {} (fixed); use another port or driver",
        if *.on { "off" } else { "on" }
    )]
    OffloadFixed {
        /// The name of the interface.
        interface: String,
        /// The offload that was to be switched.
        offload: VlanOffload,
        /// What it was to become.
        on: bool,
    },
    /// The driver took the request and did not follow it.
    #[error(
        "interface {interface}: {offload} is still {} after it was turned {}; look for what the \
         driver wrote with `dmesg`, another offload may depend on it",
        if *.on { "off" } else { "on" },
        if *.on { "on" } else { "off" }
    )]
    OffloadNotTaken {
        /// The name of the interface.
        interface: String,
        /// The offload that was to be switched.
        offload: VlanOffload,
        /// What it was to become.
        on: bool,
    },
    /// A file that says which interfaces accept MPLS could not be read.
    #[error(
        "cannot read {}, so it is not known which interfaces accept MPLS: {source}; \
         check that /proc is mounted",
        path.display()
    )]
    MplsInput {
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel does not tell network namespaces apart.
    #[error("cannot tell which network namespace this is: {source}; Linux 5.14 or later is needed")]
    NamespaceCookie {
        /// What the kernel said.
        source: io::Error,
    },
}
