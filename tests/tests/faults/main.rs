//! What must not happen while something else does: `mpls-xdp` killed at each of its system calls,
//! policies swapped under a stream of millions of frames, counters read while two CPUs count.
//!
//! Every test fails where the user is not root.

mod kill;
mod load;
mod support;
mod swap;
