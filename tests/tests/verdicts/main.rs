//! What the kernel program decides about frames, held against the same decision compiled for the
//! host, against the independent oracle, and against expectations written down from the page.
//!
//! Every test runs the program in the kernel, so every test needs root; without it, each fails.

mod accounts;
mod captures;
mod corpus;
mod counterexamples;
mod directories;
mod every_frame;
mod every_label;
mod every_stack;
mod expect;
mod fragments;
mod framing;
mod generated;
mod judges;
mod stacks;
mod stand;
