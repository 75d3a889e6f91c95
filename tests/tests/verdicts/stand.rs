//! A test stand: kernel programs that stay loaded while one policy after the other comes into
//! force, with their counters read and named by the product.
//!
//! To load a program takes longer than to judge thousands of frames. A program belongs to a slot
//! of interfaces and to a size of images, not to a policy, and the counters never go back: a new
//! policy counts from what was there.

use std::collections::hash_map::{Entry, HashMap};
use std::fs;

use mpls_xdp::filter::{Folders, Session, read_stats};
use mpls_xdp::kernel::{CounterMap, Counters, FilterProgram, PolicyMap, Settings};
use mpls_xdp::replay::MAX_PIECE;
use mpls_xdp_ebpf::abi::{NONE, Trace};
use mpls_xdp_tests::host::Host;
use mpls_xdp_tests::lab::Store;
use mpls_xdp_tests::oracle::{Judgement, Tally};

use crate::judges::case;

/// Bytes of an Ethernet header: the kernel runs no shorter frame, and no driver delivers one.
const ETHERNET_HEADER: usize = 14;
/// Counter slots: more than any policy here takes.
const SLOTS: u32 = 1 << 19;
/// Words of the smallest image that programs are loaded for.
const SMALLEST: u32 = 1 << 16;
/// The first kernel whose test runs split a frame anywhere.
const SPLITS: (u32, u32) = (6, 18);
/// `XDP_DROP` and `XDP_PASS`.
const ACTIONS: [u32; 2] = [1, 2];

/// Where policies come into force, without any interface.
pub struct Stand {
    /// Programs by slot and words of images.
    programs: HashMap<(u32, u32, bool), FilterProgram>,
    /// Policy maps by words of images; only that of the policy in force is pinned.
    policies: HashMap<u32, PolicyMap>,
    counters: CounterMap,
    session: Session,
    generation: u64,
    /// Frames that the kernel ran; one that was run twice, whole and split, counts once.
    pub frames: usize,
    _store: Store,
}

impl Stand {
    /// An empty stand.
    pub fn new() -> Self {
        let store = Store::new().unwrap_or_else(|error| panic!("no place for pins: {error:#}"));
        let folders = Folders { bpffs: store.bpffs().to_owned(), state: store.state().to_owned() };
        let session = Session::open(&folders, || ()).expect("nobody else is here");
        session.pins().create().expect("the bpffs takes a folder");
        let counters = CounterMap::pinned_for(session.pins(), SLOTS).expect("a map of counters");
        let (programs, policies) = (HashMap::new(), HashMap::new());
        let (generation, frames, _store) = (0, 0, store);
        Self { programs, policies, counters, session, generation, frames, _store }
    }

    /// Puts a policy in force.
    pub fn policy(&mut self, text: &str) -> Trial<'_> {
        let pins = self.session.pins();
        let counters = Counters::read(pins).expect("the counters can be read");
        self.generation += 1;
        let host = Host::numbered(text, self.generation, |slot| counters.get(slot))
            .unwrap_or_else(|error| panic!("the test is wrong: {error:#}"));
        let words = u32::try_from(host.image().len()).expect("an image is small");
        let words = words.next_power_of_two().max(SMALLEST);
        let tally = Tally::new(host.oracle());
        let mut trial = Trial { stand: self, host, words, tally };
        trial.activate();
        trial
    }
}

/// A policy in force.
pub struct Trial<'a> {
    stand: &'a mut Stand,
    host: Host,
    words: u32,
    /// What was judged so far.
    tally: Tally,
}

impl Trial<'_> {
    fn activate(&mut self) {
        let image = self.host.image();
        let policies = &mut self.stand.policies;
        if let Entry::Vacant(entry) = policies.entry(self.words) {
            entry.insert(PolicyMap::create(image, self.words).expect("a policy map"));
        }
        // A program that is loaded makes the maps that it shares with the others.
        self.program(0, false);
        let Stand { policies, session, .. } = &*self.stand;
        let pins = session.pins();
        let policy = &policies[&self.words];
        policy.activate(self.host.image(), pins).expect("the image fits");
        for (path, _) in pins.numbered("policy-").expect("the pins can be listed") {
            pins.remove(&path).expect("the policy before is not needed");
        }
        policy.pin(pins).expect("the map can be pinned");
    }

    /// The program of a slot, for frames in one piece or in fragments.
    fn program(&mut self, slot: u32, fragments: bool) -> &mut FilterProgram {
        let Stand { programs, policies, counters, session, .. } = &mut *self.stand;
        match programs.entry((slot, self.words, fragments)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let policy = &policies[&self.words];
                let settings = Settings { slot, policy, counters, fragments, tracing: true };
                let program = FilterProgram::load(settings, Some(session.pins()));
                entry.insert(program.unwrap_or_else(|error| panic!("cannot load: {error}")))
            }
        }
    }

    /// What all judges say about a frame on an interface.
    ///
    /// # Panics
    ///
    /// When they do not agree, with the case to run again.
    pub fn judge(&mut self, interface: &str, frame: &[u8]) -> Judgement {
        self.verdict(interface, frame, frame.len()).unwrap_or_else(|disagreement| {
            panic!("{disagreement}\n{}", self.case(interface, frame))
        })
    }

    /// As [`Self::judge`], where the kernel gets only `linear` bytes in the linear part; the error
    /// says who differs.
    pub fn verdict(
        &mut self,
        interface: &str,
        frame: &[u8],
        linear: usize,
    ) -> Result<Judgement, String> {
        let host = self.host.trace(interface, frame);
        let judgement = self.host.judge_as(&host, interface, frame)?;
        if frame.len() >= ETHERNET_HEADER {
            let slot = self.host.slot(interface);
            // Each of both programs gets half of the frames that both can take.
            let piece = linear == frame.len() && linear <= MAX_PIECE;
            let fragments = !piece || self.stand.frames % 2 == 1;
            let (action, kernel) = self
                .program(slot, fragments)
                .trace(frame, linear)
                .map_err(|error| format!("the kernel does not run the frame: {error}"))?;
            self.stand.frames += usize::from(linear == frame.len());
            if kernel != host || Some(&action) != ACTIONS.get(usize::from(host.dropped == 0)) {
                return Err(format!(
                    "the judges disagree, {linear} bytes linear:\n kernel {} with action {action}\n \
                     host   {}\n oracle {judgement:?}",
                    self.told(&kernel),
                    self.told(&host),
                ));
            }
        }
        self.tally.feed(interface, frame.len(), &judgement);
        Ok(judgement)
    }

    /// A trace in words.
    fn told(&self, trace: &Trace) -> String {
        let known = trace.ingress == NONE || trace.ingress < self.ingresses();
        if known { format!("{:?} {trace:?}", self.host.seen(trace)) } else { format!("{trace:?}") }
    }

    fn ingresses(&self) -> u32 {
        u32::try_from(self.host.manifest().ingresses.len()).unwrap_or(NONE)
    }

    /// Holds the counters in the kernel against those that the frames must have left behind.
    pub fn counters(&self) -> Result<(), String> {
        let stats = read_stats(&self.stand.session).map_err(|error| error.to_string())?;
        let stats = serde_json::to_value(stats).map_err(|error| error.to_string())?;
        match &self.tally.differences(&stats)[..] {
            [] => Ok(()),
            differences => Err(format!("the counters differ:\n {}", differences.join("\n "))),
        }
    }

    /// As [`Self::counters`].
    ///
    /// # Panics
    ///
    /// When they differ.
    pub fn assert_counters(&self) {
        self.counters().unwrap_or_else(|error| panic!("{error}\n{}", self.host.text()));
    }

    /// A frame and the policy, to be run again by hand.
    pub fn case(&self, interface: &str, frame: &[u8]) -> String {
        case(self.host.text(), interface, frame)
    }
}

/// Whether test runs of this kernel split a frame anywhere.
pub fn kernel_splits() -> bool {
    kernel() >= SPLITS
}

/// Major and minor number of the running kernel.
fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel's release");
    let mut numbers = release.split(['.', '-']).map(|part| part.trim().parse().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor),
        _ => panic!("what kernel is {release:?}?"),
    }
}
