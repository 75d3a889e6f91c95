//! Samples refused frames for as long as the screen shows their labels.
//!
//! A thread of its own does it: a terminal that takes nothing more, over a line that hangs, must not
//! keep a `capture` waiting for this one to give way.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use mpls_xdp::{
    filter::Folders,
    sampling::{Rates, Sampler, SamplingError, Selection},
};
use tokio::sync::watch;

use super::labels::{Labels, Sampling, Sighting};

/// Enough to see which labels there are, and next to nothing for the router.
pub(super) const RATES: Rates = Rates { per_second: 10, burst: 10 };
/// How often it is tried again where frames cannot be sampled.
const RETRY: Duration = Duration::from_secs(1);

/// The thread. Dropped, it takes no more samples when that returns.
pub(super) struct Watch {
    ask: Option<mpsc::Sender<bool>>,
    shown: bool,
    labels: watch::Receiver<Labels>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(super) fn start(folders: Folders, pace: Duration) -> Self {
        let (ask, asked) = mpsc::channel();
        let (tell, labels) = watch::channel(Labels::default());
        let work = Work { folders, pace, asked, tell, labels: Labels::default(), sampler: None };
        let thread = thread::spawn(move || work.go_on());
        Self { ask: Some(ask), shown: false, labels, thread: Some(thread) }
    }

    /// Samples while labels are shown.
    pub(super) fn show(&mut self, shown: bool) {
        if self.shown != shown
            && let Some(ask) = &self.ask
        {
            // Where the thread is gone, `next` says so.
            let _ = ask.send(shown);
            self.shown = shown;
        }
    }

    /// What was seen, when there is something new; `None` when the thread is gone.
    pub(super) async fn next(&mut self) -> Option<Labels> {
        self.labels.changed().await.ok()?;
        Some(self.labels.borrow_and_update().clone())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ask = None;
        // Only a panic, which has been told.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Work {
    folders: Folders,
    pace: Duration,
    asked: mpsc::Receiver<bool>,
    tell: watch::Sender<Labels>,
    labels: Labels,
    sampler: Option<Sampler>,
}

impl Work {
    /// Waits for being asked, until nobody can ask any more.
    fn go_on(mut self) {
        while let Ok(shown) = self.asked.recv() {
            if shown {
                self.sample();
                self.stop(Sampling::Off);
            }
        }
    }

    /// Samples until the screen shows something else.
    fn sample(&mut self) {
        let mut measured = Instant::now();
        loop {
            let before = self.labels.sampling.clone();
            let pause = match self.step() {
                Ok(pause) => pause,
                Err(error) => {
                    self.stop(match error {
                        SamplingError::Busy(number) | SamplingError::GaveWay(number) => {
                            Sampling::Elsewhere(number)
                        }
                        error => Sampling::Failed(error.to_string()),
                    });
                    RETRY
                }
            };
            let elapsed = measured.elapsed();
            let due = elapsed >= self.pace;
            if due {
                self.labels.measure(elapsed);
                measured = Instant::now();
            }
            if due || self.labels.sampling != before {
                self.publish();
            }
            match self.asked.recv_timeout(pause) {
                Ok(true) | Err(RecvTimeoutError::Timeout) => {}
                Ok(false) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Takes in what was sampled, and says how long there is nothing to do.
    fn step(&mut self) -> Result<Duration, SamplingError> {
        let Some(sampler) = &mut self.sampler else {
            let everything = Selection::default();
            self.sampler = Sampler::start_in_background(&self.folders, everything, RATES)?;
            self.labels.sampling = match self.sampler {
                Some(_) => Sampling::On,
                None => Sampling::Soon,
            };
            return Ok(Sampler::INTERVAL);
        };
        sampler.tick()?;
        read(sampler, &mut self.labels)?;
        Ok(sampler.due())
    }

    fn publish(&mut self) {
        if let Some(sampler) = &mut self.sampler
            && let Ok(summary) = sampler.summary()
        {
            self.labels.count(&summary.tallies);
        }
        self.labels.look(SystemTime::now());
        self.tell.send_replace(self.labels.clone());
    }

    /// Takes no more samples, and waits for no other command: it may be the one that waits for this.
    fn stop(&mut self, why: Sampling) {
        if let Some(mut sampler) = self.sampler.take() {
            // What cannot be read any more of a filter that was taken off is not missed.
            let last = sampler.halt().and_then(|()| read(&mut sampler, &mut self.labels));
            if let (Ok(()), Ok(summary)) = (last, sampler.summary()) {
                self.labels.count(&summary.tallies);
            }
            self.labels.close();
        }
        self.labels.sampling = why;
    }
}

fn read(sampler: &mut Sampler, labels: &mut Labels) -> Result<(), SamplingError> {
    while let Some(sample) = sampler.read()? {
        labels.sight(&Sighting::from(&sample));
    }
    Ok(())
}
