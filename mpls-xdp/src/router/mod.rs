//! What this router's kernel says about its interfaces, in the network namespace of the calling
//! thread.
//!
//! Everything here blocks. Links are read over RTNETLINK on a runtime that lives for one call, so
//! none of it may be called from inside a tokio runtime.

mod coverage;
mod error;
mod label_table;
mod label_use;
mod links;
mod mpls_input;
mod namespace;
mod netlink;
mod offload;
mod port;
mod xdp;

#[cfg(test)]
mod fresh_namespace;
#[cfg(test)]
pub(crate) mod hand_made;

pub use self::coverage::{Uncovered, uncovered};
pub use self::error::RouterError;
pub use self::label_table::{LabelHop, LabelRoute, label_table};
pub use self::label_use::LabelUse;
pub(crate) use self::label_use::vrf_of;
pub use self::links::{Link, Links, VlanDevice};
pub use self::mpls_input::{MplsConf, mpls_inputs};
pub use self::namespace::{is_bpffs, namespace_cookie};
pub use self::offload::{VlanOffload, set_vlan_offload, vlan_offloads_on};
pub use self::port::{NoPort, Port};
pub use self::xdp::{XdpAttachMode, XdpProgram, detach_foreign};
