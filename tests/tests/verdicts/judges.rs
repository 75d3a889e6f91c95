//! Three judges of one frame, who must agree.

use std::collections::BTreeMap;
use std::collections::hash_map::{Entry, HashMap};
use std::path::Path;

use mpls_xdp::{
    manifest::Manifest,
    replay::{Outcome, Replay},
};
pub use mpls_xdp_tests::host::Seen;
use mpls_xdp_tests::{counterexample, host::Host};

/// A policy and its judges; the kernel program is run the way `mpls-xdp replay` does it.
pub struct Judges {
    host: Host,
    /// The kernel program of each interface, loaded when it is first asked for.
    programs: HashMap<String, Replay>,
    /// Frames that were judged so far.
    frames: usize,
}

impl Judges {
    /// Reads and compiles a policy, which must be valid.
    pub fn new(text: &str) -> Self {
        let host = Host::new(text).unwrap_or_else(|error| panic!("the test is wrong: {error:#}"));
        Self { host, programs: HashMap::new(), frames: 0 }
    }

    /// The compiled policy.
    pub fn image(&self) -> &[u32] {
        self.host.image()
    }

    /// The policy's names and slots.
    pub fn manifest(&self) -> &Manifest {
        self.host.manifest()
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
        let agreed = Seen::from(&self.host.judge(interface, frame)?);
        if kernel != agreed {
            return Err(format!(
                "the judges disagree, {linear} bytes linear:\n kernel {kernel:?}\n others {agreed:?}"
            ));
        }
        Ok(kernel)
    }

    /// A frame and its policy, to be run again by hand.
    pub fn case(&self, interface: &str, frame: &[u8]) -> String {
        case(self.host.text(), interface, frame)
    }

    /// The kernel program, by `BPF_PROG_TEST_RUN`.
    fn kernel(&mut self, interface: &str, frame: &[u8], linear: usize) -> Result<Seen, String> {
        let replay = match self.programs.entry(interface.to_owned()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let replay = Replay::new(self.host.policy(), interface)
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
}

/// A frame and its policy, to be run again by hand; kept in files next to the test's program.
pub fn case(policy: &str, interface: &str, frame: &[u8]) -> String {
    counterexample::keep(Path::new(env!("CARGO_TARGET_TMPDIR")), policy, interface, frame)
        .unwrap_or_else(|error| format!("the case cannot be kept: {error:#}"))
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
