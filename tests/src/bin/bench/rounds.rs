//! Measuring candidates in turns, so that what the machine does meanwhile hits all of them.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result};

/// Parts of the rounds whose results are compared to say how well a result holds still.
const PARTS: usize = 4;

/// What each candidate took in each round.
pub struct Rounds {
    samples: BTreeMap<String, Vec<f64>>,
}

/// A result.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Of the best rounds: the 5th percentile.
    pub best: f64,
    /// Of the middle round.
    pub median: f64,
    /// By how much `best` differs between the quarters of the rounds, at most.
    pub spread: f64,
}

impl Rounds {
    /// Takes a sample of each candidate in turn, in each of so many rounds; in the first one, which
    /// does not count, everything gets warm.
    pub fn take<T>(
        count: usize,
        candidates: &[(String, T)],
        mut sample: impl FnMut(&T) -> Result<f64>,
    ) -> Result<Self> {
        let mut samples: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for round in 0..=count {
            for (name, candidate) in candidates {
                let took = sample(candidate).with_context(|| format!("measuring {name}"))?;
                if round > 0 {
                    samples.entry(name.clone()).or_default().push(took);
                }
            }
        }
        Ok(Self { samples })
    }

    /// What a candidate took.
    pub fn of(&self, name: &str) -> Result<Measured> {
        Measured::from_samples(self.samples(name)?)
    }

    /// What a candidate took more than another.
    pub fn over(&self, name: &str, base: &str) -> Result<Measured> {
        let (own, base) = (self.samples(name)?, self.samples(base)?);
        let differences: Vec<f64> = own.iter().zip(base).map(|(own, base)| own - base).collect();
        summary(own.len(), |part| {
            let best = percentile(&own[part.clone()], 0.05) - percentile(&base[part.clone()], 0.05);
            Ok([best, percentile(&differences[part], 0.5)])
        })
    }

    /// How much faster a candidate was than another: 1 is as fast, 0.5 took twice as long.
    pub fn rate(&self, name: &str, base: &str) -> Result<Measured> {
        let (own, base) = (self.samples(name)?, self.samples(base)?);
        let ratios: Vec<f64> = own.iter().zip(base).map(|(own, base)| base / own).collect();
        summary(own.len(), |part| {
            let best = percentile(&base[part.clone()], 0.05) / percentile(&own[part.clone()], 0.05);
            Ok([best, percentile(&ratios[part], 0.5)])
        })
    }

    fn samples(&self, name: &str) -> Result<&[f64]> {
        Ok(self.samples.get(name).with_context(|| format!("{name} was not measured"))?)
    }
}

/// Best and median of all rounds, and how the best of the quarters differ.
fn summary(
    count: usize,
    of: impl Fn(std::ops::Range<usize>) -> Result<[f64; 2]>,
) -> Result<Measured> {
    let [best, median] = of(0..count)?;
    let mut bounds = (f64::INFINITY, f64::NEG_INFINITY);
    for part in 0..PARTS.min(count) {
        let parts = PARTS.min(count);
        let [best, _] = of(part * count / parts..(part + 1) * count / parts)?;
        bounds = (bounds.0.min(best), bounds.1.max(best));
    }
    Ok(Measured { best, median, spread: bounds.1 - bounds.0 })
}

/// The value that this share of the samples does not reach.
fn percentile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place among the samples"
    )]
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

/// What a piece of work takes, in milliseconds.
pub fn milliseconds<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let start = Instant::now();
    let done = work()?;
    Ok((done, start.elapsed().as_secs_f64() * 1e3))
}

impl Measured {
    /// Of samples that stand for themselves.
    pub fn from_samples(samples: &[f64]) -> Result<Self> {
        summary(samples.len(), |part| {
            Ok([percentile(&samples[part.clone()], 0.05), percentile(&samples[part], 0.5)])
        })
    }

    /// Something that was counted, not timed.
    pub const fn exact(value: f64) -> Self {
        Self { best: value, median: value, spread: 0.0 }
    }
}
