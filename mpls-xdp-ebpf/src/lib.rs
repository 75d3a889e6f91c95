//! What mpls-xdp decides, in one piece that the kernel program and user space share.
//!
//! A frame comes in through a [`frame::Frame`] reader, the compiled policy through an
//! [`image::Image`] reader, and [`decision::decide`] says what becomes of the frame. The kernel
//! program (`main.rs`) supplies readers over the packet and the policy map; user space supplies
//! slices. Nothing here allocates, and every table read is bounded.
#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

pub mod abi;
pub mod decision;
pub mod frame;
pub mod image;
pub mod label_entry;
pub mod policy;
pub mod reason;
pub mod sample;
