//! The filter at work on a small PE router, for people to watch: `cargo xtask demo`.
//!
//! The router and its neighbours are network namespaces, the policy is applied by the built
//! `mpls-xdp`, and the frames are real ones on real interfaces. Nothing outlives the process: see
//! [`lab`](crate::lab).

mod report;
mod router;
mod traffic;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};

use crate::lab::require_root;
use crate::oracle::{Oracle, Tally};

pub use router::{Router, Wire};
pub use traffic::{Case, Fate, Side, sides};

/// The policy that the demo applies.
pub const POLICY: &str = include_str!("policy.toml");

/// Runs the demo and tells what happens.
///
/// # Errors
///
/// When not root, when the lab cannot be made, when a frame did not meet the fate that it was to
/// meet or was counted wrongly, or when somebody interrupted.
pub fn run(out: &mut impl Write) -> Result<()> {
    require_root()?;
    let interrupted = Interrupted::watch()?;
    // Ctrl-C also ends a command that is under way: then this, not its end, is what went wrong.
    show(out, &interrupted).or_else(|error| interrupted.check().and(Err(error)))
}

fn show(out: &mut impl Write, interrupted: &Interrupted) -> Result<()> {
    let sides = sides();
    report::introduction(out)?;
    let router = Router::new(&sides.each_ref().map(|side| (side.interface, side.neighbour)))?;
    let frames: usize = sides.iter().map(|side| side.cases.len()).sum();
    let unfiltered = arrivals(&router, &sides)?;
    report::unfiltered(out, frames, unfiltered)?;
    ensure!(unfiltered == frames, "frames are lost without the filter, which proves nothing");
    interrupted.check()?;

    report::command(out, "mpls-xdp apply policy.toml", &router.apply(POLICY, &[])?)?;
    interrupted.check()?;

    let oracle = Oracle::new(POLICY);
    let mut tally = Tally::new(&oracle);
    let mut wrong = 0;
    for side in &sides {
        let sent = side.frames();
        let arrived = router.wire(side.interface)?.probe(&sent)?;
        wrong += report::side(out, side, &arrived)?;
        for frame in &sent {
            tally.feed(side.interface, frame.len(), &oracle.judge(side.interface, frame));
        }
        interrupted.check()?;
    }
    let miscounted = tally.differences(&router.stats()?);
    report::command(out, "mpls-xdp stats", &router.mpls_xdp(["stats"])?)?;
    report::command(out, "mpls-xdp status", &router.mpls_xdp(["status"])?)?;
    report::command(out, "mpls-xdp detach --all", &router.mpls_xdp(["detach", "--all"])?)?;
    drop(router);

    report::summary(out, frames, wrong, &miscounted)?;
    ensure!(wrong == 0, "{wrong} of {frames} frames did not meet the fate that they were to meet");
    ensure!(miscounted.is_empty(), "the counters do not agree with what was sent");
    Ok(())
}

/// How many of all frames reach the router's kernel.
fn arrivals(router: &Router, sides: &[Side]) -> Result<usize> {
    let mut count = 0;
    for side in sides {
        let arrived = router.wire(side.interface)?.probe(&side.frames())?;
        count += arrived.into_iter().filter(|&arrived| arrived).count();
    }
    Ok(count)
}

/// Remembers Ctrl-C, so that the lab is taken down in order instead of being left to the kernel.
struct Interrupted(Arc<AtomicBool>);

impl Interrupted {
    fn watch() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let interrupted = Arc::new(AtomicBool::new(false));
        let noticed = Arc::clone(&interrupted);
        let mut signal = {
            let _inside = runtime.enter();
            let interrupt = tokio::signal::unix::SignalKind::interrupt();
            tokio::signal::unix::signal(interrupt).context("watching for Ctrl-C")?
        };
        // The thread waits for a signal that usually never comes, and ends with the process.
        thread::spawn(move || {
            runtime.block_on(signal.recv());
            noticed.store(true, Ordering::Relaxed);
        });
        Ok(Self(interrupted))
    }

    fn check(&self) -> Result<()> {
        ensure!(!self.0.load(Ordering::Relaxed), "interrupted; the lab is taken down");
        Ok(())
    }
}
