//! What the counters stood at when a policy came into force, so that what it did can be told from
//! what those before it did.

use std::{collections::BTreeMap, fs, io, path::Path};

use mpls_xdp_ebpf::abi::Counter;
use serde::{Deserialize, Serialize};

use super::{
    FilterError, Session, Stats,
    active::Active,
    session::write,
    stats::{self, attachments},
};
use crate::{
    kernel::Counters,
    manifest::{Base, Manifest},
    router::Links,
};

/// A reading of the counters.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Baseline {
    /// The history's entry that was in force.
    entry: u64,
    /// When, in seconds since 1970.
    pub at: u64,
    /// What each slot had counted; absent is zero.
    slots: BTreeMap<u32, Base>,
}

impl Baseline {
    /// Reads the counters of the policy in force.
    ///
    /// # Errors
    ///
    /// When no policy is applied, or the kernel cannot be asked.
    pub fn take(session: &Session) -> Result<Self, FilterError> {
        let active = Active::policy(&session.pins)?;
        let counters = Counters::read(&session.pins)?;
        let slots = active.manifest.slots().filter_map(|slot| {
            let Counter { packets, bytes } = counters.get(slot);
            (packets > 0).then_some((slot, Base { packets, bytes }))
        });
        let at = super::rollout::now();
        Ok(Self { entry: active.manifest.entry, at, slots: slots.collect() })
    }

    /// Keeps it.
    pub(super) fn store(&self, state: &Path) -> Result<(), FilterError> {
        let path = state.join(FILE);
        let bytes = serde_json::to_vec(self)
            .map_err(|error| FilterError::State { path: path.clone(), source: error.into() })?;
        write(&path, &bytes)
    }

    /// The one that was kept when the policy in force came into force. A command that died in
    /// between may have left none.
    fn load(state: &Path, entry: u64) -> Result<Option<Self>, FilterError> {
        let path = state.join(FILE);
        let baseline: Self = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| FilterError::State { path, source: error.into() })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(FilterError::State { path, source }),
        };
        Ok(Some(baseline).filter(|baseline| baseline.entry == entry))
    }

    /// The manifest with this as the zero of its counters.
    fn as_zero(&self, manifest: &Manifest) -> Manifest {
        let mut manifest = manifest.clone();
        for (slot, read) in &self.slots {
            let base = manifest.bases.entry(*slot).or_default();
            *base =
                Base { packets: base.packets.max(read.packets), bytes: base.bytes.max(read.bytes) };
        }
        for ingress in &mut manifest.ingresses {
            ingress.accepted_before = Base::default();
            ingress.leaving.clear();
        }
        manifest
    }
}

/// The file in the folder of the state.
pub(super) const FILE: &str = "counters.json";

/// What was counted in a time.
#[derive(Debug, Clone)]
pub struct Counted {
    /// The counters.
    pub stats: Stats,
    /// From when, in seconds since 1970; `None` when that is not known: from the beginning of the
    /// counters, under other policies as well.
    pub since: Option<u64>,
}

impl Counted {
    /// What was counted since the policy in force came into force, or since `baseline`.
    ///
    /// # Errors
    ///
    /// When no policy is applied, the kernel cannot be asked, or another policy has come into force
    /// since `baseline`.
    pub fn read(session: &Session, baseline: Option<Baseline>) -> Result<Self, FilterError> {
        let active = Active::policy(&session.pins)?;
        let manifest = &active.manifest;
        let baseline = match baseline {
            Some(baseline) if baseline.entry == manifest.entry => Some(baseline),
            Some(_) => return Err(FilterError::ChangedMeanwhile),
            None => Baseline::load(&session.state, manifest.entry)?,
        };
        let counters = Counters::read(&session.pins)?;
        let links = Links::read()?;
        let attached = attachments(&session.pins, &links)?;
        let zero = baseline.as_ref().map(|baseline| baseline.as_zero(manifest));
        let stats = stats::stats(zero.as_ref().unwrap_or(manifest), &counters, &attached);
        Ok(Self { stats, since: baseline.map(|baseline| baseline.at) })
    }
}
