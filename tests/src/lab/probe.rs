//! Telling dropped frames from those that are still on their way.

use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use super::{PATIENCE, Port};
use crate::frame::{EXPERIMENTAL, Frame};

/// Frames between two markers: a veth holds 256 that its receiver has not taken yet.
const BATCH: usize = 64;
/// Markers after a batch.
const MARKERS: usize = 3;

/// Sends frames and says of each whether it arrived, with all its bytes as they were.
///
/// After the frames follow markers, frames of an experimental EtherType that the filter leaves
/// alone, each sent when the one before it has arrived. A [`Veth`](super::Veth) keeps the order; in
/// an emulated NIC a frame that had to wait can be overtaken, but then goes with the next one. So a
/// frame that has not arrived before the last marker has been dropped. Nothing waits for time to
/// pass.
///
/// What the receiver got earlier is discarded first. Of equal frames, the first ones count as those
/// that arrived. A tagged frame shorter than 20 bytes never arrives, whatever passed it: see [`Port`].
///
/// # Errors
///
/// When a frame cannot be sent, when a marker does not arrive, or when a frame arrives that is none
/// of those sent.
pub fn probe(sender: &Port, receiver: &Port, frames: &[impl AsRef<[u8]>]) -> Result<Vec<bool>> {
    let crossing = Crossing { sender, receiver };
    crossing.settle()?;
    let mut arrived = Vec::with_capacity(frames.len());
    for batch in frames.chunks(BATCH) {
        let received = crossing.carry(batch)?;
        arrived.extend(tick_off(batch, received).with_context(|| format!("on {receiver}"))?);
    }
    Ok(arrived)
}

/// The way from one port to another.
pub(super) struct Crossing<'a> {
    pub(super) sender: &'a Port,
    pub(super) receiver: &'a Port,
}

impl Crossing<'_> {
    /// Takes everything off the receiver that was on its way before.
    pub(super) fn settle(&self) -> Result<()> {
        self.receive_up_to_markers()?;
        self.receiver.lost()?;
        Ok(())
    }

    /// How many frames arrived since everything was settled, also those that the receiver had no
    /// room for.
    pub(super) fn count(&self) -> Result<u64> {
        // A full receiver would lose the markers too.
        self.receiver.discard()?;
        self.receive_up_to_markers()?;
        Ok(u64::from(self.receiver.arrived()?) - MARKERS as u64)
    }

    /// Sends frames and returns what arrived of them.
    fn carry(&self, frames: &[impl AsRef<[u8]>]) -> Result<Vec<Vec<u8>>> {
        for frame in frames {
            self.sender.send(frame.as_ref())?;
        }
        let received = self.receive_up_to_markers()?;
        let lost = self.receiver.lost()?;
        ensure!(lost == 0, "{} had no room for {lost} frames", self.receiver);
        Ok(received)
    }

    /// Receives everything that has been sent.
    fn receive_up_to_markers(&self) -> Result<Vec<Vec<u8>>> {
        let mut frames = Vec::new();
        for _ in 0..MARKERS {
            frames.extend(self.receive_up_to(&self.send_marker()?)?);
        }
        Ok(frames)
    }

    fn send_marker(&self) -> Result<Vec<u8>> {
        let marker = new_marker();
        self.sender.send(&marker).context("sending a marker")?;
        Ok(marker)
    }

    /// Receives what comes before the marker.
    fn receive_up_to(&self, marker: &[u8]) -> Result<Vec<Vec<u8>>> {
        let deadline = Instant::now() + PATIENCE;
        let mut frames = Vec::new();
        while let Some(frame) = self.receiver.receive_before(deadline)? {
            if frame == marker {
                return Ok(frames);
            }
            frames.push(frame);
        }
        bail!(
            "no marker from {} reached {} in {PATIENCE:?}: they are not connected, or something \
             drops frames that are not MPLS",
            self.sender,
            self.receiver
        )
    }
}

/// A frame like no other before it.
fn new_marker() -> Vec<u8> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let text = format!("mpls-xdp lab, process {:>10}, marker {number:>20}", process::id());
    Frame::new(EXPERIMENTAL).payload(text).build()
}

/// Says of each frame sent whether it is among those received.
fn tick_off(sent: &[impl AsRef<[u8]>], mut received: Vec<Vec<u8>>) -> Result<Vec<bool>> {
    let arrived = sent
        .iter()
        .map(|frame| {
            let place = received.iter().position(|other| other == frame.as_ref());
            place.map(|place| received.remove(place)).is_some()
        })
        .collect();
    match received.first() {
        None => Ok(arrived),
        Some(strange) => bail!("a frame arrived that was not sent so: {strange:02x?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_ticked_off_by_their_bytes() {
        let (one, two) = (b"one".to_vec(), b"two".to_vec());
        let sent = [&one, &two, &one, &two];
        let arrived = |received: &[&Vec<u8>]| {
            tick_off(&sent, received.iter().map(|&frame| frame.clone()).collect())
        };
        assert_eq!(arrived(&[]).unwrap(), [false; 4]);
        assert_eq!(arrived(&sent).unwrap(), [true; 4]);
        assert_eq!(arrived(&[&two, &one]).unwrap(), [true, true, false, false]);
        let error = arrived(&[&one, &b"changed".to_vec()]).unwrap_err();
        assert!(error.to_string().contains("63, 68, 61, 6e, 67, 65, 64"), "{error}");
        assert!(arrived(&[&one, &one, &one]).is_err());
    }

    #[test]
    fn markers_differ_and_are_whole_frames() {
        let (one, two) = (new_marker(), new_marker());
        assert_ne!(one, two);
        assert!(one.len() >= 60, "{}", one.len());
    }
}
