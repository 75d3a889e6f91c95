//! The network of the demonstration: one PE with its customers, a core and a neighbour.
//!
//! Everything forwards with the stock kernel's VRFs, MPLS label routes and MPLS encapsulation. What
//! a routing daemon would have learned stands in [`PE1`] and its like as the commands that an
//! operator would type.

use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail, ensure};

use crate::demo::Router;
use crate::lab::{InfoKind, Link, Namespace, Veth, kernel_has};

/// Where the kernel keeps what `sysctl` sets.
const SYSCTLS: &str = "/proc/sys";
/// What the kernel has there when it forwards MPLS.
const MPLS: &str = "/proc/sys/net/mpls";

/// The name of every host's only interface.
const UPLINK: &str = "uplink";

/// How pe1 is set up, in the order of a talk about it. A line that begins with `#` is for the
/// audience.
pub(super) const PE1: &str = "\
# Two customers. Both use 10.1.0.0/24 here.
ip link add red type vrf table 10
ip link add blue type vrf table 20
ip link set red up
ip link set blue up
ip link set eth1 master red
ip link set eth4 master blue
ip address add 10.1.0.1/24 dev eth1
ip address add 10.1.0.1/24 dev eth4
# The neighbour in VLAN 100, and the core.
ip link add link eth2 name eth2.100 type vlan id 100
ip link set eth2.100 up
ip address add 192.0.2.1/30 dev eth2.100
ip address add 198.51.100.1/30 dev eth3
# Where the kernel takes MPLS. eth5 is a spare port that somebody prepared once.
sysctl net.ipv4.ip_forward=1
sysctl net.mpls.platform_labels=65536
sysctl net.mpls.conf.eth2/100.input=1
sysctl net.mpls.conf.eth3.input=1
sysctl net.mpls.conf.eth5.input=1
sysctl net.mpls.conf.lo.input=1
# The labels of the VRFs, and pe1's own SID: popped, then the next one counts.
ip -f mpls route add 100 dev red
ip -f mpls route add 200 dev blue
ip -f mpls route add 16007 dev lo
# To pe2 (SID 16008), and between the neighbour and pe2 (option B).
ip -f mpls route add 16008 as 16008 via inet 198.51.100.2
ip -f mpls route add 24000 as 16008/400 via inet 198.51.100.2
ip -f mpls route add 24064 as 300 via inet 192.0.2.2
# The customers' other sites: behind pe2, and behind the neighbour.
ip route add vrf red 10.2.0.0/24 encap mpls 16008/400 via 198.51.100.2
ip route add vrf blue 10.2.0.0/24 encap mpls 16008/401 via 198.51.100.2
ip route add vrf red 10.3.0.0/24 encap mpls 300 via 192.0.2.2
";

/// A router of the core. It pops pe1's SID, the last router before it (PHP), and swaps pe2's.
const P1: &str = "\
ip address add 198.51.100.2/30 dev pe1
ip address add 198.51.100.5/30 dev pe2
sysctl net.ipv4.ip_forward=1
sysctl net.mpls.platform_labels=65536
sysctl net.mpls.conf.pe1.input=1
sysctl net.mpls.conf.pe2.input=1
ip -f mpls route add 16007 via inet 198.51.100.1
ip -f mpls route add 16008 as 16008 via inet 198.51.100.6
";

/// The other PE. It pops its own SID itself.
const PE2: &str = "\
ip link add red type vrf table 10
ip link add blue type vrf table 20
ip link set red up
ip link set blue up
ip link set eth1 master red
ip link set eth4 master blue
ip address add 10.2.0.1/24 dev eth1
ip address add 10.2.0.1/24 dev eth4
ip address add 198.51.100.6/30 dev eth3
sysctl net.ipv4.ip_forward=1
sysctl net.mpls.platform_labels=65536
sysctl net.mpls.conf.eth3.input=1
sysctl net.mpls.conf.lo.input=1
ip -f mpls route add 400 dev red
ip -f mpls route add 401 dev blue
ip -f mpls route add 16008 dev lo
ip route add vrf red 10.1.0.0/24 encap mpls 16007/100 via 198.51.100.5
ip route add vrf blue 10.1.0.0/24 encap mpls 16007/200 via 198.51.100.5
ip route add vrf red 10.3.0.0/24 encap mpls 16007/24064 via 198.51.100.5
";

/// The border router of AS 65001, with a site of red behind it. pe1 gave it 100 and 24000.
const ASBR: &str = "\
ip link add link uplink name uplink.100 type vlan id 100
ip link set uplink.100 up
ip address add 192.0.2.2/30 dev uplink.100
ip link add red type vrf table 10
ip link set red up
ip link set eth1 master red
ip address add 10.3.0.1/24 dev eth1
sysctl net.ipv4.ip_forward=1
sysctl net.mpls.platform_labels=65536
sysctl net.mpls.conf.uplink/100.input=1
ip -f mpls route add 300 dev red
ip route add vrf red 10.1.0.0/24 encap mpls 100 via 192.0.2.1
ip route add vrf red 10.2.0.0/24 encap mpls 24000 via 192.0.2.1
";

/// A customer's host: a namespace with a stack of its own.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// Where it is; bears its name.
    pub(super) namespace: Namespace,
    /// Its address in its VPN. Other VPNs may use the same.
    pub(super) address: Ipv4Addr,
}

/// All routers and hosts.
#[derive(Debug)]
pub(super) struct Network {
    /// The PE that is attacked and defended, with `mpls-xdp` on it.
    pub(super) pe1: Router,
    /// Its port to the neighbour.
    pub(super) eth2: Link,
    /// The neighbour's router, from where the attack comes.
    pub(super) asbr: Namespace,
    /// Red's site at pe1.
    pub(super) red1: Host,
    /// Red's site behind the core.
    pub(super) red2: Host,
    /// Red's site in the neighbour's AS.
    pub(super) red3: Host,
    /// Blue's site at pe1.
    pub(super) blue1: Host,
    /// Blue's site behind the core.
    pub(super) blue2: Host,
    /// The other PE.
    pe2: Namespace,
    /// The router between the PEs: it forwards as long as somebody holds it.
    _p1: Namespace,
}

impl Network {
    /// Builds everything and sets it up.
    pub(super) fn new() -> Result<Self> {
        require_forwarding()?;
        let pe1 = Router::new(&[])?;
        let router = pe1.namespace();
        let [p1, pe2, asbr] = ["p1", "pe2", "asbr"].map(Namespace::new);
        let (p1, pe2, asbr) = (p1?, pe2?, asbr?);

        let (eth2, _) = Veth::between((router, "eth2"), (&asbr, UPLINK)).create()?;
        Veth::between((router, "eth3"), (&p1, "pe1")).create()?;
        Veth::between((router, "eth5"), (&p1, "spare")).create()?;
        Veth::between((&p1, "pe2"), (&pe2, "eth3")).create()?;
        let red1 = Host::new("red-1", (router, "eth1"), [10, 1, 0, 2])?;
        let blue1 = Host::new("blue-1", (router, "eth4"), [10, 1, 0, 2])?;
        let red2 = Host::new("red-2", (&pe2, "eth1"), [10, 2, 0, 2])?;
        let blue2 = Host::new("blue-2", (&pe2, "eth4"), [10, 2, 0, 2])?;
        let red3 = Host::new("red-3", (&asbr, "eth1"), [10, 3, 0, 2])?;

        for (router, commands) in [(router, PE1), (&p1, P1), (&pe2, PE2), (&asbr, ASBR)] {
            configure(router, commands)?;
        }
        Ok(Self { pe1, eth2, asbr, red1, red2, red3, blue1, blue2, pe2, _p1: p1 })
    }
}

impl Network {
    /// Takes the VRFs down while their interfaces are still there: the kernel complains on the
    /// console where both go at once.
    pub(super) fn take_down(self) -> Result<()> {
        for (router, vrfs) in [
            (self.pe1.namespace(), ["red", "blue"].as_slice()),
            (&self.pe2, &["red", "blue"]),
            (&self.asbr, &["red"]),
        ] {
            for vrf in vrfs {
                configure(router, &format!("ip link delete {vrf}"))?;
            }
        }
        Ok(())
    }

    /// All hosts.
    pub(super) fn hosts(&self) -> [&Host; 5] {
        let Self { red1, red2, red3, blue1, blue2, .. } = self;
        [red1, red2, red3, blue1, blue2]
    }
}

impl Host {
    /// Puts a host behind this interface of a router.
    fn new(name: &str, attachment: (&Namespace, &str), address: [u8; 4]) -> Result<Self> {
        let namespace = Namespace::new(name)?;
        Veth::between(attachment, (&namespace, UPLINK)).create()?;
        let [a, b, c, _] = address;
        let address = Ipv4Addr::from(address);
        let commands = format!(
            "ip address add {address}/24 dev {UPLINK}\nip route add default via {a}.{b}.{c}.1\n"
        );
        configure(&namespace, &commands)?;
        Ok(Self { namespace, address })
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.namespace.fmt(f)
    }
}

/// Runs commands of an operator on a router, one a line: `ip …`, `sysctl KEY=VALUE`.
pub(super) fn configure(router: &Namespace, commands: &str) -> Result<()> {
    for line in commands.lines().filter(|line| !line.starts_with('#')) {
        let done = match line.split_once(' ') {
            Some(("ip", arguments)) => ip(router, arguments),
            Some(("sysctl", setting)) => sysctl(router, setting),
            _ => bail!("neither ip nor sysctl: {line}"),
        };
        done.with_context(|| format!("{router}# {line}"))?;
    }
    Ok(())
}

fn ip(router: &Namespace, arguments: &str) -> Result<()> {
    let output = router
        .command("ip")
        .args(arguments.split(' '))
        .output()
        .context("starting ip, of the package iproute2")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", output.status, said.trim());
    Ok(())
}

/// As `sysctl`: the key's dots are slashes of the path, and its slashes are dots.
fn sysctl(router: &Namespace, setting: &str) -> Result<()> {
    let (key, value) = setting.split_once('=').context("KEY=VALUE is missing")?;
    let swap = |character| match character {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let path = format!("{SYSCTLS}/{}", key.chars().map(swap).collect::<String>());
    router.run(|| fs::write(&path, value).with_context(|| format!("writing {path}")))
}

fn require_forwarding() -> Result<()> {
    let mpls = fs::exists(MPLS).with_context(|| format!("looking for {MPLS}"))?;
    for (there, what) in [
        (mpls, "MPLS forwarding (modules mpls_router and mpls_iptunnel)"),
        (kernel_has(InfoKind::Vrf)?, "VRFs (module vrf)"),
        (kernel_has(InfoKind::Vlan)?, "VLAN devices (module 8021q)"),
    ] {
        ensure!(
            there,
            "this kernel has no {what}: run the demonstration with `cargo xtask vm demo`"
        );
    }
    Ok(())
}
