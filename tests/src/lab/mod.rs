//! A network of our own to try the filter in.
//!
//! A lab consists of [`Namespace`]s, [`Link`]s between them, [`Port`]s to send and receive frames
//! on them, and a [`Store`] for what `mpls-xdp` keeps. Everything hangs on file descriptors of this
//! process: when they close, by leaving scope, by a panic or by SIGKILL, the kernel takes down what
//! was built. Nothing is shared with the machine or with another lab, and no interface is touched
//! that the lab did not make.
//!
//! ```no_run
//! use mpls_xdp_tests::frame::Frame;
//! use mpls_xdp_tests::lab::{Namespace, Store, Veth, probe};
//!
//! # fn main() -> anyhow::Result<()> {
//! let (router, peer) = (Namespace::new("router")?, Namespace::new("peer")?);
//! let (eth2, uplink) = Veth::between((&router, "eth2"), (&peer, "uplink")).create()?;
//! let store = Store::new()?;
//! let status = router.command("mpls-xdp").args(store.arguments()).arg("status").status()?;
//! assert!(status.success());
//!
//! let frames = [Frame::mpls([24_000]).build(), Frame::mpls([24_999]).build()];
//! assert_eq!(probe(&uplink.port()?, &eth2.port()?, &frames)?, [true, false]);
//! # Ok(())
//! # }
//! ```

mod btf;
mod census;
mod flood;
mod generator;
mod hand_written;
mod link;
mod namespace;
mod netlink;
mod offload;
mod port;
mod probe;
mod socket;
mod store;
#[cfg(test)]
mod tests;

use std::time::Duration;

use anyhow::{Result, ensure};

pub use btf::hide_btf;
pub use census::Census;
pub use flood::flood;
pub use generator::Generator;
pub use hand_written::HandWritten;
pub use link::{Link, Veth, kernel_has};
pub use namespace::{Namespace, NamespaceId};
pub use port::Port;
pub use probe::probe;
pub use rtnetlink::packet_route::link::InfoKind;
pub use store::Store;

/// How long something that must happen may take before it counts as missing.
///
/// Only a failure waits so long. It usually takes microseconds, but a guest that is emulated on a
/// machine with other work may stand still for many seconds.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Says in a sentence that only root can make a lab.
///
/// # Errors
///
/// When the process is not root's.
pub fn require_root() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "a lab makes network namespaces and loads kernel programs: run this as root"
    );
    Ok(())
}
