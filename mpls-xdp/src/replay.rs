//! Runs frames through the kernel program as if they had been received on an interface.

use std::collections::{HashMap, HashSet};

use mpls_xdp_ebpf::{
    abi::{Counter, NONE},
    reason::{InterfaceReason, Reason},
};
use serde::Serialize;

use crate::{
    compile,
    filter::FilterError,
    kernel::{CounterMap, FilterProgram, KernelError, PolicyMap, Settings, UNTOUCHED},
    manifest::Manifest,
    policy::Policy,
};

/// Bytes of an Ethernet header; shorter frames are not run and pass.
const ETHERNET_HEADER: usize = 14;
/// Bytes of a frame that are run: more than any header takes, less than the kernel refuses.
const MAX_RUN: usize = 60_000;
/// Bytes of a frame that a test run has room for in one piece: a page of 4 KiB less headroom and
/// `struct skb_shared_info`.
pub const MAX_PIECE: usize = 3_000;
/// `XDP_DROP` and `XDP_PASS`.
const ACTIONS: [(u32, &str); 2] = [(1, "drop"), (2, "pass")];

/// The kernel program under a policy, unattached.
pub struct Replay {
    /// The program for frames in one piece, and the one for frames in fragments, each loaded when
    /// the first such frame comes.
    programs: [Option<FilterProgram>; 2],
    policy: PolicyMap,
    counters: CounterMap,
    slot: u32,
    manifest: Manifest,
    /// Whether the policy names the interface.
    named: bool,
}

/// What became of a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Number of the frame, from 1.
    pub frame: usize,
    /// `pass` or `drop`.
    pub verdict: &'static str,
    /// Why it is refused, or would be in `enforce`.
    pub reason: Option<&'static str>,
    /// Where it came in; none when unbound or not MPLS.
    pub ingress: Option<String>,
    /// Position of the entry that decided.
    pub position: Option<u32>,
    /// Its label.
    pub label: Option<u32>,
}

impl Replay {
    /// Loads the program for an interface, which need not exist.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the program.
    pub fn new(policy: &Policy, interface: &str) -> Result<Self, FilterError> {
        let unused = |_| Counter::default();
        let manifest = Manifest::assign(
            policy,
            &Manifest::default(),
            &HashMap::new(),
            &HashSet::new(),
            unused,
        )?;
        let image = compile::compile(policy, &manifest)?;
        let entry = manifest.interfaces.iter().find(|entry| entry.name == interface);
        // A slot that no interface of the policy has reads as one that is not named.
        let slot = entry.map_or(manifest.interfaces.len(), |entry| entry.slot as usize);
        let slot = u32::try_from(slot).unwrap_or(NONE);
        let named = entry.is_some();
        let policy = PolicyMap::create(&image, u32::try_from(image.len()).unwrap_or(NONE))?;
        let counters = CounterMap::create(manifest.counter_end())?;
        let mut replay = Self { programs: [None, None], policy, counters, slot, manifest, named };
        replay.program(false)?;
        Ok(replay)
    }

    fn program(&mut self, fragments: bool) -> Result<&mut FilterProgram, KernelError> {
        let place = usize::from(fragments);
        let program = match self.programs[place].take() {
            Some(program) => program,
            None => {
                let Self { policy, counters, slot, .. } = self;
                let slot = *slot;
                FilterProgram::load(
                    Settings { slot, policy, counters, fragments, tracing: true },
                    None,
                )?
            }
        };
        Ok(self.programs[place].insert(program))
    }

    /// Whether the policy names the interface; it passes everything when not.
    pub fn is_named(&self) -> bool {
        self.named
    }

    /// Runs a frame; `number` counts from 1.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to run it.
    pub fn run(&mut self, number: usize, frame: &[u8]) -> Result<Outcome, KernelError> {
        self.run_split(number, frame, frame.len())
    }

    /// Runs a frame as [`Self::run`] does, with only its first `linear` bytes in the linear part
    /// and the others in fragments, as a driver may hand it over. From Linux 6.18.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to run it.
    pub fn run_split(
        &mut self,
        number: usize,
        frame: &[u8],
        linear: usize,
    ) -> Result<Outcome, KernelError> {
        let (action, trace) = if frame.len() < ETHERNET_HEADER {
            (2, UNTOUCHED)
        } else {
            let fragments = linear < frame.len() || frame.len() > MAX_PIECE;
            self.program(fragments)?.trace(&frame[..frame.len().min(MAX_RUN)], linear)?
        };
        let verdict = ACTIONS
            .into_iter()
            .find_map(|(code, name)| (code == action).then_some(name))
            .ok_or(KernelError::Action(action))?;
        Ok(Outcome {
            frame: number,
            verdict,
            reason: reason(trace.reason),
            ingress: self.ingress(trace.ingress),
            position: number_or_none(trace.position),
            label: number_or_none(trace.label),
        })
    }

    fn ingress(&self, number: u32) -> Option<String> {
        let entry = self.manifest.ingresses.get(usize::try_from(number).ok()?)?;
        Some(entry.name.clone())
    }
}

fn number_or_none(number: u32) -> Option<u32> {
    (number != NONE).then_some(number)
}

/// The name behind a trace's reason code.
fn reason(code: u32) -> Option<&'static str> {
    let behind = code.checked_sub(Reason::COUNT);
    match (Reason::from_code(code), behind) {
        (Some(reason), _) => Some(reason.name()),
        (None, Some(code)) => InterfaceReason::from_code(code).map(InterfaceReason::name),
        (None, None) => None,
    }
}
