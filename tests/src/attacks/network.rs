//! The router that most attacks are on.
//!
//! ```text
//!   customer red ------------ eth1        PE and ASBR
//!
//!   peer A, option B -------- eth2, VLAN 100
//!   peer B, option B -------- eth2, VLAN 101       VRF red   100, 1000-1099
//!   peer C, option C -------- eth2, VLAN 102       VRF blue  200, 2000-2099
//!                                                  pseudowires  3000-3099
//!   own core ---------------- eth3                 SRGB  16000-23999, own SID 16007
//! ```

use super::story::Neighbour;

/// The policy of this router.
pub const PE: &str = include_str!("pe.toml");

/// A site of customer red: no label at all.
pub const CUSTOMER: Neighbour = Neighbour { interface: "eth1", ingress: "ce-red", vlan: &[] };
/// Peer A, inter-AS option B: VRF red and 24000-24063, one label only.
pub const PEER_A: Neighbour = Neighbour { interface: "eth2", ingress: "peer-a", vlan: &[100] };
/// Peer B, inter-AS option B: 24064-24127, one label only.
pub const PEER_B: Neighbour = Neighbour { interface: "eth2", ingress: "peer-b", vlan: &[101] };
/// Peer C, inter-AS option C: 24128-24191, and what is below is not this router's.
pub const PEER_C: Neighbour = Neighbour { interface: "eth2", ingress: "peer-c", vlan: &[102] };
/// The own core: all contexts, and 24192-24255 for the peers' routes.
pub const CORE: Neighbour = Neighbour { interface: "eth3", ingress: "core-a", vlan: &[] };

/// This router's own node SID, which it pops.
pub const OWN_SID: u32 = 16_007;
/// The node SID of another router of the domain.
pub const OTHER_SID: u32 = 16_001;
/// A label of VRF red.
pub const RED: u32 = 100;
/// A label of VRF blue.
pub const BLUE: u32 = 200;
/// A pseudowire's label.
pub const PSEUDOWIRE: u32 = 3_000;
/// A label that only peer A was given.
pub const OF_PEER_A: u32 = 24_000;
/// A label that only peer B was given.
pub const OF_PEER_B: u32 = 24_064;
/// A label that only peer C was given.
pub const OF_PEER_C: u32 = 24_128;
/// A label that this router gave to its own PEs for a peer's routes.
pub const OF_CORE: u32 = 24_192;
/// A label that this router never gave out.
pub const NOBODYS: u32 = 500_000;
