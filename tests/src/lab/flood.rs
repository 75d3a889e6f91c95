//! Frames at the rate of a wire, and how many of them come through.

use anyhow::{Result, ensure};
use rustix::thread::sched_getcpu;

use super::probe::Crossing;
use super::{Generator, Link, Port};

/// Frames that the kernel makes in one go.
const CHUNK: usize = 8_192;

/// Sends so many rounds of some frames from one end of a veth as fast as the kernel can, and says
/// how many of them arrived at the other end. For the frames see [`Generator::new`].
///
/// The receiver counts more frames than it could hold, so their bytes are not looked at.
///
/// # Errors
///
/// When the kernel refuses, when it did not send all of them, or as [`probe`](super::probe()).
pub fn flood(
    (uplink, sender): (&Link, &Port),
    receiver: &Port,
    frames: &[Vec<u8>],
    rounds: usize,
) -> Result<u64> {
    let crossing = Crossing { sender, receiver };
    // One CPU sends and receives in turn, so the veth always has room for the next frames.
    let generator = Generator::new(uplink, frames)?.on(sched_getcpu());
    crossing.settle()?;
    let mut left = rounds;
    while left > 0 {
        let now = left.min(CHUNK / frames.len());
        generator.send(now)?;
        left -= now;
    }
    let (sent, wanted) = (generator.sent()?, (rounds * frames.len()) as u64);
    ensure!(sent == wanted, "{sent} frames were sent instead of {wanted}");
    crossing.count()
}
