//! What came in and was refused, as a proposal for the policy.
//!
//! That a label came in does not say that anybody was given it. So a label is only ever proposed in
//! the policy's own words where nothing is lost by it and where it looks right: on an ingress in
//! monitor mode, for a label that this router forwards and that leads into none of its VRFs, and from
//! a peer only without entries below. Everything else is told in comments.

mod proposal;
mod sightings;
#[cfg(test)]
mod tests;
mod text;

pub use self::{
    proposal::{Facts, ObservedContext, PlaceProposal, Proposal, Remark},
    sightings::{Sight, Sighting, Sightings, Spot},
};
