//! Samples of the frames that the filter refuses, while it is in force.
//!
//! The kernel programs write a refused frame into a ring when the bucket of its ingress and reason
//! has a token. The buckets are filled from here, a little at a time: a flood costs the router no
//! more than looking at an empty bucket, and when this process dies they run dry and nothing is
//! sampled any more. What was not sampled is known from the counters.
//!
//! ```no_run
//! use mpls_xdp::{filter::Folders, sampling::{Rates, Sampler, SamplingError, Selection}};
//!
//! # fn main() -> Result<(), SamplingError> {
//! let folders = Folders { bpffs: "/sys/fs/bpf".into(), state: "/run/mpls-xdp".into() };
//! let mut sampler = Sampler::start(&folders, Selection::default(), Rates::default(), || {})?;
//! while let Some(sample) = sampler.read()? {
//!     println!("{:?} from {:?}", sample.stack(), sample.source());
//! }
//! // Poll `sampler.as_fd()` for at most `sampler.due()`, call `sampler.tick()`, and again.
//! println!("{:?}", sampler.stop()?.tallies);
//! # Ok(())
//! # }
//! ```

mod cause;
mod error;
mod frame;
mod ledger;
mod pcapng;
mod places;
mod right;
mod sources;

use std::{
    collections::{BTreeSet, VecDeque},
    ffi::OsString,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use mpls_xdp_ebpf::{abi::NONE, sample};
use nix::time::{ClockId, clock_gettime};

pub use self::{
    cause::{Cause, UnknownReason},
    error::SamplingError,
    frame::{Entry, MacAddress},
    ledger::{Counts, Tally},
    pcapng::SampleWriter,
    places::Place,
    sources::Sources,
};
use self::{
    ledger::Ledger,
    places::{History, Named, Places},
    right::{Right, Taken},
};
use crate::{
    filter::{FilterError, Folders, Session, active::Active},
    kernel::{KernelError, OpenCounters, Pins, PolicyMap, SampleMaps},
    router,
};

/// How many frames are sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Samples a second, for each ingress and reason, and for each interface and reason of frames
    /// without an ingress.
    pub per_second: u32,
    /// As many may come at once.
    pub burst: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self { per_second: 100, burst: 100 }
    }
}

/// Which frames are sampled.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Those of these ingresses only; none is all of them and frames without one.
    pub ingresses: Vec<String>,
    /// Those refused for these reasons only; none is all.
    pub causes: Vec<Cause>,
}

impl Selection {
    /// Whether all frames are sampled, also those of an ingress that a policy to come has.
    fn is_everything(&self) -> bool {
        self.ingresses.is_empty() && self.causes.is_empty()
    }

    /// The reasons for which frames of a place are sampled.
    fn causes(&self, place: &Place) -> impl Iterator<Item = Cause> {
        let ingress = place.ingress.as_ref();
        let named = self.ingresses.is_empty()
            || ingress.is_some_and(|ingress| self.ingresses.contains(ingress));
        Cause::all().filter(move |cause| {
            let fits = matches!(cause, Cause::Ingress(_)) == ingress.is_some();
            named && fits && (self.causes.is_empty() || self.causes.contains(cause))
        })
    }
}

/// A refused frame.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When it was refused.
    pub time: SystemTime,
    /// Where it came in.
    pub place: Arc<Place>,
    /// Why it was refused.
    pub cause: Cause,
    /// Whether it was dropped; else it passed, because of monitor mode.
    pub dropped: bool,
    /// Position of the entry that decided, from 0.
    pub position: Option<u32>,
    /// Its label.
    pub label: Option<u32>,
    /// Length of the whole frame, in bytes.
    pub length: u32,
    /// Its first bytes, [`sample::CAPTURED`] at most.
    pub bytes: Vec<u8>,
}

impl Sample {
    /// Who sent it.
    pub fn source(&self) -> Option<MacAddress> {
        frame::source(&self.bytes)
    }

    /// Its VLAN IDs, outer to inner; of more than two none but the first two.
    pub fn vlans(&self) -> Vec<u16> {
        frame::vlans(&self.bytes)
    }

    /// Its label entries as far as they were sampled; only the last can have S set.
    pub fn stack(&self) -> Vec<Entry> {
        frame::stack(&self.bytes)
    }
}

/// What was sampled and what not.
#[derive(Debug, Clone)]
pub struct Summary {
    /// By place and reason, in the order of the policy; only what was refused.
    pub tallies: Vec<Tally>,
    /// Samples of a policy that was in force too briefly to learn its names; they are in no tally.
    pub unnamed: u64,
}

/// Takes samples until it is stopped or dropped.
pub struct Sampler {
    folders: Folders,
    pins: Pins,
    selection: Selection,
    rates: Rates,
    maps: SampleMaps,
    counters: OpenCounters,
    policy: PolicyMap,
    /// What there was when the policy was last read.
    read: Stamp,
    history: History,
    ledger: Ledger,
    /// Samples whose policy is still to be read.
    waiting: VecDeque<sample::Sample>,
    unnamed: u64,
    /// From `CLOCK_MONOTONIC` to the time of day.
    clock: Duration,
    started: Instant,
    ticked: Instant,
    /// Tokens that each bucket has been given so far.
    given: u64,
    /// Goes last: until then the maps are ours.
    right: Right,
}

impl Sampler {
    /// How often the buckets are filled and the policy is looked at.
    pub const INTERVAL: Duration = Duration::from_millis(100);

    /// Starts; calls `waiting` first when another command is at work. One that samples in the
    /// background gives way, within [`Self::INTERVAL`] as a rule.
    ///
    /// # Errors
    ///
    /// When no policy is applied, another process samples, or an ingress does not exist.
    pub fn start(
        folders: &Folders,
        selection: Selection,
        rates: Rates,
        waiting: impl FnOnce(),
    ) -> Result<Self, SamplingError> {
        let session = Session::open(folders, waiting)?;
        Self::begin(folders, &session, selection, rates, Right::first)
    }

    /// Starts to sample for as long as nobody calls [`Self::start`]: then [`Self::tick`] says
    /// [`SamplingError::GaveWay`], and this is to be dropped at once, since the other one waits.
    /// Waits for nobody; `None` when another command is at work.
    ///
    /// # Errors
    ///
    /// When no policy is applied, another process samples, or an ingress does not exist.
    pub fn start_in_background(
        folders: &Folders,
        selection: Selection,
        rates: Rates,
    ) -> Result<Option<Self>, SamplingError> {
        // Who tries again and again must not be in the way of other commands.
        let namespace = router::namespace_cookie().map_err(FilterError::from)?;
        if let Some(Taken(number)) = Right::holder(&folders.state_of(namespace))? {
            return Err(SamplingError::Busy(number));
        }
        match Session::try_open(folders)? {
            Some(session) => {
                Self::begin(folders, &session, selection, rates, Right::background).map(Some)
            }
            None => Ok(None),
        }
    }

    fn begin(
        folders: &Folders,
        session: &Session,
        selection: Selection,
        rates: Rates,
        right: impl FnOnce(&Session) -> Result<Result<Right, Taken>, FilterError>,
    ) -> Result<Self, SamplingError> {
        let pins = session.pins().clone();
        let active = Active::policy(&pins)?;
        let manifest = active.manifest;
        let places = Places::of(&manifest);
        for name in &selection.ingresses {
            if !manifest.ingresses.iter().any(|entry| entry.name == *name) {
                let all: Vec<&str> =
                    manifest.ingresses.iter().map(|entry| entry.name.as_str()).collect();
                return Err(SamplingError::NoIngress(name.clone(), all.join(", ")));
            }
        }
        if let Some(pin) = SampleMaps::pins(&pins).into_iter().find(|pin| !pin.exists()) {
            return Err(SamplingError::NoPins(pin));
        }
        let right = right(session)?.map_err(|Taken(number)| SamplingError::Busy(number))?;
        let policy = active.map;
        let read = Stamp::of(&pins, &policy)?;
        let counters = OpenCounters::open(&pins)?;
        let maps = SampleMaps::install(&pins, manifest.counter_end())?;
        // The buckets are empty: nothing is sampled that was refused before this is read.
        let ledger = Ledger::begin(&places, &selection, &counters.read());
        let mut history = History::default();
        history.push(places);
        let now = Instant::now();
        let sampler = Self {
            folders: folders.clone(),
            pins,
            selection,
            rates,
            maps,
            counters,
            policy,
            read,
            history,
            ledger,
            waiting: VecDeque::new(),
            unnamed: 0,
            clock: since_boot_to_time_of_day()?,
            started: now,
            ticked: now,
            given: 0,
            right,
        };
        sampler.fill(rates.burst.into());
        sampler.policy.set_sampled(true);
        Ok(sampler)
    }

    /// Where frames can come in under the policy in force.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        let places = self.history.newest().into_iter().flat_map(|places| &places.all);
        places.map(Arc::as_ref)
    }

    /// The interfaces that the policy in force names.
    pub fn interfaces(&self) -> Vec<String> {
        let interfaces = self.places().filter(|place| place.ingress.is_none());
        interfaces.map(|place| place.interface.clone()).collect()
    }

    /// The generation of the policy in force, as far as it is known.
    pub fn generation(&self) -> u64 {
        self.history.newest().map_or(0, |places| places.generation)
    }

    /// The next sample, if there is one. Follows the policy when it is needed to name one.
    ///
    /// # Errors
    ///
    /// When the filter was taken off, or the kernel cannot be asked.
    pub fn read(&mut self) -> Result<Option<Sample>, SamplingError> {
        loop {
            let Some(raw) = self.waiting.pop_front().or_else(|| self.maps.read()) else {
                return Ok(None);
            };
            match self.history.name(raw.refusal.generation, raw.refusal.counter) {
                Named::So(place) => {
                    if let Some(sample) = self.named(&raw, place) {
                        return Ok(Some(sample));
                    }
                }
                Named::Never => self.unnamed += 1,
                Named::NotYet => {
                    let known = self.generation();
                    self.waiting.push_front(raw);
                    self.follow()?;
                    if self.generation() == known {
                        // Out of the ring, or whoever polls it would be called again at once.
                        while let Some(raw) = self.maps.read() {
                            self.waiting.push_back(raw);
                        }
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// How long until [`Self::tick`] is to be called.
    pub fn due(&self) -> Duration {
        Self::INTERVAL.saturating_sub(self.ticked.elapsed())
    }

    /// Fills the buckets and follows the policy, when it is time.
    ///
    /// # Errors
    ///
    /// When the filter was taken off, somebody else goes first, or the kernel cannot be asked.
    pub fn tick(&mut self) -> Result<(), SamplingError> {
        if !self.due().is_zero() {
            return Ok(());
        }
        self.ticked = Instant::now();
        if let Some(Taken(number)) = self.right.wanted().map_err(SamplingError::Right)? {
            return Err(SamplingError::GaveWay(number));
        }
        self.follow()?;
        let nanoseconds = self.started.elapsed().as_nanos();
        let so_far = nanoseconds * u128::from(self.rates.per_second) / 1_000_000_000;
        let so_far = u64::try_from(so_far).unwrap_or(u64::MAX);
        self.fill(so_far - self.given);
        self.given = so_far;
        Ok(())
    }

    /// What was sampled and what not, up to now.
    ///
    /// # Errors
    ///
    /// When the counters cannot be read.
    pub fn summary(&mut self) -> Result<Summary, SamplingError> {
        self.take_lost();
        let tallies = self.ledger.tallies(&self.counters.read());
        Ok(Summary { tallies, unnamed: self.unnamed })
    }

    /// Takes no more samples. Those that are in the ring can still be read.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn halt(&mut self) -> Result<(), SamplingError> {
        self.policy.set_sampled(false);
        Ok(self.maps.stop()?)
    }

    /// Takes no more samples, and tells what was sampled. Those that nobody read count as well.
    ///
    /// # Errors
    ///
    /// When the kernel cannot be asked.
    pub fn stop(mut self) -> Result<Summary, SamplingError> {
        self.halt()?;
        let drained = self.drain();
        if !matches!(drained, Err(SamplingError::TakenOff)) {
            drained?;
        }
        self.unnamed += self.waiting.len() as u64;
        self.summary()
    }

    fn named(&mut self, raw: &sample::Sample, place: Arc<Place>) -> Option<Sample> {
        let refusal = raw.refusal;
        let cause = Cause::from_code(refusal.reason)?;
        // A slot that another ingress had before may have a token left.
        if !self.ledger.sampled(&place, cause) {
            return None;
        }
        let captured = usize::try_from(raw.captured).ok()?;
        Some(Sample {
            time: UNIX_EPOCH + self.clock + Duration::from_nanos(raw.time),
            place,
            cause,
            dropped: refusal.dropped != 0,
            position: (refusal.position != NONE).then_some(refusal.position),
            label: (refusal.label != NONE).then_some(refusal.label),
            length: raw.length,
            bytes: raw.bytes.get(..captured)?.to_vec(),
        })
    }

    fn fill(&self, more: u64) {
        if more == 0 {
            return;
        }
        let burst = self.rates.burst.into();
        if self.selection.is_everything() {
            // Buckets that nobody uses as well: an ingress that a new policy brings has a full one.
            (0..self.maps.buckets()).for_each(|slot| self.maps.allow(slot, more, burst));
        } else {
            self.ledger.slots().for_each(|slot| self.maps.allow(slot, more, burst));
        }
    }

    fn take_lost(&mut self) {
        let Self { ledger, maps, .. } = self;
        ledger.take_lost(|slot| maps.take_lost(slot));
    }

    /// Takes what is left out of the ring, under the policy as it is now.
    fn drain(&mut self) -> Result<(), SamplingError> {
        if self.has_changed()? {
            let session = Session::open(&self.folders, || {})?;
            self.read_policy(&session)?;
        }
        while self.read()?.is_some() {}
        Ok(())
    }

    fn has_changed(&self) -> Result<bool, SamplingError> {
        Ok(Stamp::of(&self.pins, &self.policy)? != self.read)
    }

    /// Reads the policy again when another one came into force, unless the command that does this
    /// is still at work.
    fn follow(&mut self) -> Result<(), SamplingError> {
        if !self.has_changed()? {
            return Ok(());
        }
        match Session::try_open(&self.folders)? {
            Some(session) => self.read_policy(&session),
            None => Ok(()),
        }
    }

    fn read_policy(&mut self, session: &Session) -> Result<(), SamplingError> {
        let active = match Active::policy(session.pins()) {
            Err(FilterError::NoPolicy) => return Err(SamplingError::TakenOff),
            active => active?,
        };
        let manifest = &active.manifest;
        // A filter that was taken off and put on again has other maps.
        if !self.maps.are_pinned(&self.pins)? {
            return Err(SamplingError::TakenOff);
        }
        self.policy = active.map;
        self.policy.set_sampled(true);
        self.read = Stamp::of(&self.pins, &self.policy)?;
        if manifest.generation == self.generation() {
            return Ok(());
        }
        self.take_lost();
        self.counters = OpenCounters::open(&self.pins)?;
        let places = Places::of(manifest);
        let counters = self.counters.read();
        let (fresh, gone) = self.ledger.go_on(&places, &self.selection, manifest, &counters);
        let (known, burst) = (self.maps.buckets(), self.rates.burst.into());
        self.maps.grow(manifest.counter_end())?;
        if self.selection.is_everything() {
            (known..self.maps.buckets()).for_each(|slot| self.maps.allow(slot, burst, burst));
        } else {
            gone.into_iter().for_each(|slot| self.maps.forbid(slot));
            fresh.into_iter().for_each(|slot| self.maps.allow(slot, burst, burst));
        }
        self.history.push(places);
        Ok(())
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.policy.set_sampled(false);
    }
}

impl AsFd for Sampler {
    /// Readable when there is a sample.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.maps.as_fd()
    }
}

/// Whether a process samples, whose state is in this folder.
pub(crate) fn is_sampling(state: &Path) -> Result<bool, FilterError> {
    Ok(Right::holder(state)?.is_some())
}

/// What changes with the policy, and is cheap to look at: the pins and the number of the generation.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    pins: BTreeSet<(OsString, u64)>,
    generation: u64,
}

impl Stamp {
    fn of(pins: &Pins, policy: &PolicyMap) -> Result<Self, KernelError> {
        Ok(Self { pins: pins.maps()?, generation: policy.generation() })
    }
}

/// From the clock of the samples to the time of day, as it is now.
fn since_boot_to_time_of_day() -> Result<Duration, nix::Error> {
    let read = |clock| clock_gettime(clock).map(Duration::from);
    let before = read(ClockId::CLOCK_MONOTONIC)?;
    let time_of_day = read(ClockId::CLOCK_REALTIME)?;
    let after = read(ClockId::CLOCK_MONOTONIC)?;
    Ok(time_of_day.saturating_sub(before + (after - before) / 2))
}
