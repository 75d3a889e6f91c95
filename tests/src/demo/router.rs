//! A router with neighbours, on which the built `mpls-xdp` runs.

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::lab::{Link, Namespace, Port, Store, Veth, flood, probe};
use crate::product;

/// The neighbour's end of every wire.
const UPLINK: &str = "uplink";

/// A router, and each of its neighbours, in a network namespace of its own.
#[derive(Debug)]
pub struct Router {
    namespace: Namespace,
    store: Store,
    wires: Vec<Wire>,
}

/// A wire from a neighbour to an interface of the router.
#[derive(Debug)]
pub struct Wire {
    /// The router's end.
    pub interface: Link,
    /// The neighbour's end.
    pub uplink: Link,
    /// Where the neighbour sends.
    pub outside: Port,
    /// What the router's kernel gets to see.
    pub inside: Port,
}

impl Router {
    /// Makes a router with these interfaces and the neighbours behind them.
    ///
    /// # Errors
    ///
    /// When not root, or when the lab cannot be made.
    pub fn new(interfaces: &[(&str, &str)]) -> Result<Self> {
        Self::with_mtu(1_500, interfaces)
    }

    /// The same, with this MTU on every wire.
    ///
    /// # Errors
    ///
    /// When not root, or when the lab cannot be made.
    pub fn with_mtu(mtu: u32, interfaces: &[(&str, &str)]) -> Result<Self> {
        let namespace = Namespace::new("pe1")?;
        let wires = interfaces
            .iter()
            .map(|(interface, neighbour)| Wire::new(&namespace, interface, neighbour, mtu))
            .collect::<Result<_>>()?;
        Ok(Self { namespace, store: Store::new()?, wires })
    }

    /// A router of wires that are there already, all into this namespace.
    ///
    /// # Errors
    ///
    /// When not root, or when there is no room for what `mpls-xdp` keeps.
    pub fn of(namespace: Namespace, wires: Vec<Wire>) -> Result<Self> {
        Ok(Self { namespace, store: Store::new()?, wires })
    }

    /// The router's namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Where `mpls-xdp` keeps its things for this router.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The wire to the interface of this name.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn wire(&self, interface: &str) -> Result<&Wire> {
        let found = self.wires.iter().find(|wire| wire.interface.name() == interface);
        found.with_context(|| format!("the router has no interface {interface}"))
    }

    /// A call of `mpls-xdp` on the router.
    ///
    /// # Errors
    ///
    /// When it has not been built.
    pub fn command<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Command> {
        let mut command = self.namespace.command(product::binary()?);
        // The policy is then called as a user would call it.
        command.current_dir(self.store.directory());
        command.args(self.store.arguments()).args(arguments);
        Ok(command)
    }

    /// Runs `mpls-xdp` on the router and returns what it printed, with its warnings.
    ///
    /// # Errors
    ///
    /// When it cannot be run, or fails.
    pub fn mpls_xdp<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<String> {
        let mut command = self.command(arguments)?;
        let Output { status, stdout, stderr } =
            command.output().with_context(|| format!("starting {command:?}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        ensure!(status.success(), "{command:?} ended with {status}: {}", text(&stderr));
        let printed = [text(&stdout), text(&stderr)];
        Ok(printed.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n"))
    }

    /// Puts a policy in force, with these options of `apply`.
    ///
    /// # Errors
    ///
    /// As [`mpls_xdp`](Self::mpls_xdp).
    pub fn apply(&self, policy: &str, options: &[&str]) -> Result<String> {
        let name = "policy.toml";
        fs::write(self.store.directory().join(name), policy).context("writing the policy")?;
        self.mpls_xdp(["apply", name].iter().chain(options))
    }

    /// The counters, as `stats --json` has them.
    ///
    /// # Errors
    ///
    /// As [`mpls_xdp`](Self::mpls_xdp), or when that is not JSON.
    pub fn stats(&self) -> Result<Value> {
        serde_json::from_str(&self.mpls_xdp(["stats", "--json"])?).context("reading the counters")
    }
}

impl Wire {
    fn new(router: &Namespace, interface: &str, neighbour: &str, mtu: u32) -> Result<Self> {
        let neighbour = Namespace::new(neighbour)?;
        let (interface, uplink) =
            Veth::between((router, interface), (&neighbour, UPLINK)).mtu(mtu).create()?;
        Self::of(interface, uplink)
    }

    /// A wire of two ends that are there already.
    ///
    /// # Errors
    ///
    /// When a port cannot be opened on one of them.
    pub fn of(interface: Link, uplink: Link) -> Result<Self> {
        let (outside, inside) = (uplink.port()?, interface.port()?);
        Ok(Self { interface, uplink, outside, inside })
    }

    /// Lets the neighbour send frames and says of each whether the router's kernel got it.
    ///
    /// # Errors
    ///
    /// As [`probe`].
    pub fn probe(&self, frames: &[impl AsRef<[u8]>]) -> Result<Vec<bool>> {
        probe(&self.outside, &self.inside, frames)
    }

    /// Lets the neighbour send so many rounds of these frames as fast as a veth takes them, and
    /// says how many the router's kernel got.
    ///
    /// # Errors
    ///
    /// As [`flood`].
    pub fn flood(&self, frames: &[Vec<u8>], rounds: usize) -> Result<u64> {
        flood((&self.uplink, &self.outside), &self.inside, frames, rounds)
    }
}
