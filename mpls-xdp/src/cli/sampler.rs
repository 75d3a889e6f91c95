//! What commands that sample wait for.

use std::{os::fd::AsFd, time::Duration};

use mpls_xdp::sampling::{Sampler, SamplingError};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};

/// The signals that end a command. They stay blocked: one that comes twice, as from `timeout`, must
/// not cost the summary.
pub(super) struct Signals(SignalFd);

/// What a command waited for.
pub(super) enum Woken {
    /// One of the signals.
    Signal,
    /// Nobody reads the output any more.
    ReaderGone,
    /// There may be a sample, the buckets may have to be filled, or the time is up.
    Sampler,
}

impl Signals {
    pub(super) fn take() -> Result<Self, Errno> {
        let set: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        set.thread_block()?;
        Ok(Self(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)?))
    }

    /// Waits for a sample, a signal, the end of the reader, or the time to fill the buckets, and for
    /// `longest` at most.
    pub(super) fn wait(
        &self,
        sampler: &Sampler,
        reader: Option<&impl AsFd>,
        longest: Duration,
    ) -> Result<Woken, Errno> {
        let nothing = PollFlags::empty();
        let mut watched = vec![
            PollFd::new(sampler.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.0.as_fd(), PollFlags::POLLIN),
        ];
        watched.extend(reader.map(|reader| PollFd::new(reader.as_fd(), nothing)));
        let milliseconds = sampler.due().min(longest).as_millis() + 1;
        let timeout = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
        match poll(&mut watched, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
        let happened = |at: usize| watched.get(at).and_then(PollFd::revents).unwrap_or(nothing);
        if happened(1).contains(PollFlags::POLLIN) {
            return Ok(Woken::Signal);
        }
        // A pipe says POLLERR when its last reader goes.
        if happened(2).intersects(PollFlags::POLLERR | PollFlags::POLLHUP) {
            return Ok(Woken::ReaderGone);
        }
        Ok(Woken::Sampler)
    }
}

/// An error of the filter keeps its exit code.
pub(super) fn unwrap_filter(error: SamplingError) -> anyhow::Error {
    match error {
        SamplingError::Filter(error) => error.into(),
        error => error.into(),
    }
}
