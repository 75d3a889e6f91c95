//! A filter in force in a network namespace of its own, to run frames through.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use mpls_xdp_tests::frame::Frame;
use mpls_xdp_tests::lab::{Link, Namespace, Store, Veth};
use mpls_xdp_tests::product;
use serde_json::Value;

use super::bpf::{Program, Traits};
use super::policies::INTERFACE;
use super::programs::{self, Choice, Chooser};

/// What XDP programs return.
pub const DROP: u32 = 1;
pub const PASS: u32 = 2;

/// No frame is shorter on a wire.
const SHORTEST: usize = 64;

/// A place for the filter: a namespace, the interface that policies name, and folders.
pub struct Place {
    pub namespace: Namespace,
    pub store: Store,
    /// The interface that policies name.
    pub filtered: Link,
    /// Where frames are sent to get there.
    pub feed: Link,
    binary: PathBuf,
}

impl Place {
    /// An empty one.
    pub fn new() -> Result<Self> {
        Self::of(product::binary()?)
    }

    /// An empty one, on which this `mpls-xdp` runs.
    pub fn of(binary: PathBuf) -> Result<Self> {
        let namespace = Namespace::new("bench")?;
        let (filtered, feed) =
            Veth::between((&namespace, INTERFACE), (&namespace, "feed")).create()?;
        Ok(Self { store: Store::new()?, filtered, feed, binary, namespace })
    }

    /// A call of `mpls-xdp` here.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.namespace.command(&self.binary);
        command.args(self.store.arguments()).args(arguments).current_dir(self.store.directory());
        command
    }

    /// Writes a policy into the place's folder.
    pub fn write(&self, name: &str, policy: &str) -> Result<()> {
        let path = self.store.directory().join(name);
        fs::write(&path, policy).with_context(|| format!("writing {}", path.display()))
    }

    /// Puts a policy in force.
    pub fn apply(&self, policy: &str) -> Result<()> {
        const NAME: &str = "policy.toml";
        self.write(NAME, policy)?;
        self.output(&["apply", NAME])?;
        Ok(())
    }

    /// The filter's program.
    pub fn filter(&self) -> Result<Program> {
        let id = self.filtered.xdp_program()?.context("apply attached no program")?;
        Program::with_id(id)
    }

    /// What the filter has counted.
    pub fn counts(&self) -> Result<Counts> {
        Ok(Counts(serde_json::from_str(&self.output(&["stats", "--json"])?)?))
    }

    fn output(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "mpls-xdp {}: {}", arguments.join(" "), complaint.trim());
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Makes an interface, and the one where frames are sent to get there.
    pub fn pair(&self, name: &str) -> Result<(Link, Link)> {
        let peer = format!("{name}-peer");
        Veth::between((&self.namespace, name), (&self.namespace, &peer)).create()
    }

    /// Attaches a program to an interface made for it.
    pub fn attach(&self, program: &Program, name: &str) -> Result<(Perch, Link)> {
        let (link, peer) = self.pair(name)?;
        let index = link.index()?;
        let attached = self.namespace.run(|| program.attach(index))?;
        Ok((Perch { _attached: attached }, peer))
    }
}

/// Keeps a program attached.
pub struct Perch {
    _attached: OwnedFd,
}

/// A filter and the empty program beside it, attached both, so that test runs of the one and of
/// the other differ in the program only.
pub struct Stand {
    pub place: Place,
    pub empty: Program,
    pub filter: Program,
    _perch: Perch,
}

impl Stand {
    /// With this policy in force.
    pub fn new(policy: &str) -> Result<Self> {
        Self::by(product::binary()?, policy)
    }

    /// With this policy put in force by this `mpls-xdp`.
    pub fn by(binary: PathBuf, policy: &str) -> Result<Self> {
        let place = Place::of(binary)?;
        place.apply(policy)?;
        let empty = programs::empty(Traits::default())?;
        let (perch, _) = place.attach(&empty, "empty")?;
        Ok(Self { filter: place.filter()?, empty, _perch: perch, place })
    }

    /// The filter, and an empty program, behind a program that makes a choice for each frame.
    pub fn choosing(&self, choice: Choice) -> Result<Choosing> {
        self.choosing_before(&self.filter, choice, "filter")
    }

    /// The same for another filter; the name must be new.
    pub fn choosing_before(
        &self,
        filter: &Program,
        choice: Choice,
        name: &str,
    ) -> Result<Choosing> {
        let filter = Chooser::before(filter, choice)?;
        let empty = Chooser::before(&programs::empty(filter.traits)?, choice)?;
        let (first, _) = self.place.attach(&filter.program, &format!("{name}-f"))?;
        let (second, _) = self.place.attach(&empty.program, &format!("{name}-e"))?;
        Ok(Choosing { filter, empty, _perches: [first, second] })
    }
}

/// A pair of programs whose difference is what a filter takes for frames at random.
pub struct Choosing {
    pub filter: Chooser,
    pub empty: Chooser,
    _perches: [Perch; 2],
}

/// The object that `stats --json` prints.
pub struct Counts(Value);

impl Counts {
    /// Accepted frames of all ingresses.
    pub fn accepted(&self) -> u64 {
        self.sum("accepted")
    }

    /// Refused frames of all ingresses.
    pub fn refused(&self) -> u64 {
        self.sum("dropped") + self.sum("would_drop")
    }

    /// How many rules have accepted a frame.
    pub fn rules_used(&self) -> usize {
        let rules = self.ingresses().flat_map(|ingress| list(&ingress["rules"]));
        rules.filter(|rule| packets(rule) > 0).count()
    }

    /// Frames that were refused for a reason, on ingresses or for lack of one.
    pub fn reason(&self, reason: &str) -> u64 {
        let interface = if reason == "ingress_unbound" { "unbound" } else { reason };
        let interfaces = list(&self.0["interfaces"]).map(|entry| packets(&entry[interface]));
        self.ingresses().map(|entry| packets(&entry["reasons"][reason])).chain(interfaces).sum()
    }

    fn ingresses(&self) -> impl Iterator<Item = &Value> {
        list(&self.0["ingresses"])
    }

    fn sum(&self, what: &str) -> u64 {
        self.ingresses().map(|ingress| packets(&ingress[what])).sum()
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn packets(counter: &Value) -> u64 {
    counter["packets"].as_u64().unwrap_or(0)
}

/// The frame's bytes, as many as a wire carries at least.
pub fn on_wire(frame: &Frame) -> Vec<u8> {
    let mut bytes = frame.build();
    bytes.resize(bytes.len().max(SHORTEST), 0);
    bytes
}

/// Whether a program is in the path.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let standard = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let mut folders = std::env::split_paths(&path).chain(standard);
    folders.any(|folder: PathBuf| Path::is_file(&folder.join(program)))
}
