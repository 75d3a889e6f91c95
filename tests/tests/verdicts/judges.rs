//! Three judges of one frame, who must agree.

use std::collections::hash_map::{Entry, HashMap};
use std::collections::{BTreeMap, HashSet};
use std::fmt;

use mpls_xdp::{
    compile,
    manifest::Manifest,
    policy,
    replay::{Outcome, Replay},
};
use mpls_xdp_ebpf::{
    abi::{Counter as Counts, NONE, REASON_SLOTS, Trace},
    decision, frame,
    reason::{InterfaceReason, Reason},
};
use mpls_xdp_tests::oracle::{Counter, Oracle, Verdict};

/// What a judge says about a frame: the fields of `replay --json`.
#[derive(Clone, PartialEq, Eq)]
pub struct Seen {
    /// `pass` or `drop`.
    pub verdict: &'static str,
    /// Why it is refused.
    pub reason: Option<&'static str>,
    /// Where it came in.
    pub ingress: Option<String>,
    /// Position of the entry that decided.
    pub position: Option<u32>,
    /// Its label.
    pub label: Option<u32>,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verdict, reason, ingress, position, label } = self;
        write!(f, "{verdict} {reason:?} ingress {ingress:?} position {position:?} label {label:?}")
    }
}

/// A policy and its judges.
pub struct Judges {
    text: String,
    policy: policy::Policy,
    manifest: Manifest,
    image: Vec<u32>,
    oracle: Oracle,
    /// The kernel program of each interface, loaded when it is first asked for.
    programs: HashMap<String, Replay>,
    /// Frames that were judged so far.
    frames: usize,
}

impl Judges {
    /// Reads and compiles a policy, which must be valid.
    pub fn new(text: &str) -> Self {
        let parsed = policy::parse("policy.toml", text);
        let Some(policy) = parsed.policy else {
            panic!("the policy of a test is invalid: {:?}\n{text}", parsed.errors);
        };
        let unused = |_| Counts::default();
        let manifest = Manifest::assign(
            &policy,
            &Manifest::default(),
            &HashMap::new(),
            &HashSet::new(),
            unused,
        )
        .expect("a new manifest has room");
        let image = compile::compile(&policy, &manifest).expect("the policy compiles");
        let oracle = Oracle::new(text);
        let text = text.to_owned();
        Self { text, policy, manifest, image, oracle, programs: HashMap::new(), frames: 0 }
    }

    /// The compiled policy.
    pub fn image(&self) -> &[u32] {
        &self.image
    }

    /// The policy's names and slots.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What all judges say about a frame on an interface.
    ///
    /// # Panics
    ///
    /// When they do not agree, or the kernel refuses to judge.
    pub fn judge(&mut self, interface: &str, frame: &[u8]) -> Seen {
        match self.verdict(interface, frame) {
            Ok(seen) => seen,
            Err(disagreement) => panic!("{disagreement}\n{}", self.case(interface, frame)),
        }
    }

    /// As [`Self::judge`]; the error says who differs.
    pub fn verdict(&mut self, interface: &str, frame: &[u8]) -> Result<Seen, String> {
        self.split_verdict(interface, frame, frame.len())
    }

    /// As [`Self::verdict`], where the kernel gets only `linear` bytes in the linear part.
    pub fn split_verdict(
        &mut self,
        interface: &str,
        frame: &[u8],
        linear: usize,
    ) -> Result<Seen, String> {
        let kernel = self.kernel(interface, frame, linear)?;
        let (host, host_counter) = self.host(interface, frame);
        let judgement = self.oracle.judge(interface, frame);
        let oracle = Seen {
            verdict: match judgement.verdict {
                Verdict::Pass => "pass",
                Verdict::Drop => "drop",
            },
            reason: judgement.reason,
            ingress: judgement.ingress,
            position: judgement.position,
            label: judgement.label,
        };
        if kernel != host || host != oracle {
            return Err(format!(
                "the judges disagree, {linear} bytes linear:\n kernel {kernel:?}\n host   \
                 {host:?}\n oracle {oracle:?}"
            ));
        }
        if host_counter != judgement.counter {
            return Err(format!(
                "the judges count differently:\n host   {host_counter:?}\n oracle {:?}",
                judgement.counter
            ));
        }
        Ok(kernel)
    }

    /// A frame and its policy, to be run again by hand.
    pub fn case(&self, interface: &str, frame: &[u8]) -> String {
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        let excerpt: String = self.text.chars().take(10_000).collect();
        format!("interface {interface}, frame of {} bytes: {hex}\n{excerpt}", frame.len())
    }

    /// The kernel program, by `BPF_PROG_TEST_RUN`.
    fn kernel(&mut self, interface: &str, frame: &[u8], linear: usize) -> Result<Seen, String> {
        let replay = match self.programs.entry(interface.to_owned()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let replay = Replay::new(&self.policy, interface)
                    .map_err(|error| format!("cannot load the kernel program: {error}"))?;
                entry.insert(replay)
            }
        };
        self.frames += 1;
        let Outcome { frame: number, verdict, reason, ingress, position, label } = replay
            .run_split(self.frames, frame, linear)
            .map_err(|error| format!("the kernel does not run the frame: {error:?}"))?;
        assert_eq!(number, self.frames);
        Ok(Seen { verdict, reason, ingress, position, label })
    }

    /// The same decision, compiled for the host and reading slices.
    fn host(&self, interface: &str, frame: &[u8]) -> (Seen, Counter) {
        let named = self.manifest.interfaces.iter().find(|entry| entry.name == interface);
        // Behind those that the policy names there is none.
        let slot = named.map_or(self.manifest.interfaces.len(), |entry| entry.slot as usize);
        let slot = u32::try_from(slot).expect("a slot is a small number");
        let image = &self.image[..];
        let verdict = decision::decide(&frame, frame::parse(&frame), &image, slot);
        let trace = verdict.trace(&image);
        let some = |number: u32| (number != NONE).then_some(number);
        let seen = Seen {
            verdict: if trace.dropped == 1 { "drop" } else { "pass" },
            reason: reason(trace.reason),
            ingress: some(trace.ingress)
                .map(|number| self.manifest.ingresses[number as usize].name.clone()),
            position: some(trace.position),
            label: some(trace.label),
        };
        (seen, self.counter(interface, &trace))
    }

    /// What the counter slot of a trace counts.
    fn counter(&self, interface: &str, trace: &Trace) -> Counter {
        let slot = trace.counter;
        if slot == NONE {
            return Counter::Nothing;
        }
        if trace.ingress == NONE {
            let entry = self.manifest.interfaces.iter().find(|entry| entry.name == interface);
            let entry = entry.expect("only a named interface counts");
            return match slot - entry.counters {
                0 => Counter::Unbound,
                1 => Counter::VlanTooDeep,
                other => panic!("interface {interface} has no counter {other}"),
            };
        }
        let entry = &self.manifest.ingresses[trace.ingress as usize];
        if let Some(rule) = entry.rules.iter().find(|rule| rule.slot == slot) {
            return Counter::Accepted { rule: rule.name.clone() };
        }
        let place = slot.checked_sub(entry.reasons).filter(|place| *place < REASON_SLOTS);
        let place = place.unwrap_or_else(|| panic!("{} has no counter slot {slot}", entry.name));
        assert_eq!(place / 2, trace.reason, "the slot of another reason");
        if place % 2 == 1 { Counter::WouldDrop } else { Counter::Dropped }
    }
}

/// The name behind a trace's reason.
fn reason(code: u32) -> Option<&'static str> {
    let of_ingress = Reason::ALL.into_iter().map(Reason::name);
    let of_interface = InterfaceReason::ALL.into_iter().map(InterfaceReason::name);
    (0..).zip(of_ingress.chain(of_interface)).find_map(|(at, name)| (at == code).then_some(name))
}

/// How often each reason occurs, `accepted` and `untouched` among them.
pub type Tally = BTreeMap<&'static str, usize>;

/// What a judgement is counted as.
pub fn kind(seen: &Seen) -> &'static str {
    match (seen.reason, &seen.ingress) {
        (Some(reason), _) => reason,
        (None, Some(_)) => "accepted",
        (None, None) => "untouched",
    }
}
