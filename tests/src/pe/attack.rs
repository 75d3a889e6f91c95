//! What the neighbour forges, whom it reaches, and how the filter counts it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};

use anyhow::{Context, Result};
use serde_json::Value;

use super::network::{Host, Network, configure};
use super::traffic::{Datagram, Dialogue, Mailbox, socket_in};

/// The ingress that the attack comes in by, as the policy calls it.
pub(super) const INGRESS: &str = "peer-as65001";
/// The attacker's address, which belongs to no customer.
pub(super) const ATTACKER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// Datagrams of each attack in each act.
pub(super) const EACH: usize = 10;

/// A stack of labels that was not given to the neighbour.
#[derive(Debug)]
pub(super) struct Attack {
    /// The labels as `ip route` takes them, top first.
    pub(super) labels: &'static str,
    /// Whom it reaches.
    pub(super) victim: Victim,
    /// Why that works.
    pub(super) because: &'static str,
    /// Why the filter refuses it.
    pub(super) reason: &'static str,
}

/// A host of customer blue.
#[derive(Clone, Copy, Debug)]
pub(super) enum Victim {
    /// At pe1.
    Blue1,
    /// At pe2, behind the core.
    Blue2,
}

/// All attacks, the plain one first.
pub(super) const ATTACKS: [Attack; 4] = [
    Attack {
        labels: "200",
        victim: Victim::Blue1,
        because: "200 leads into VRF blue; AS 65001 was never given it",
        reason: "label_out_of_vrf",
    },
    Attack {
        labels: "16007/200",
        victim: Victim::Blue1,
        because: "pe1 pops its own SID and looks 200 up",
        reason: "label_spoofed",
    },
    Attack {
        labels: "0/200",
        victim: Victim::Blue1,
        because: "pe1 pops explicit null and looks 200 up",
        reason: "special_label_not_allowed",
    },
    Attack {
        labels: "16008/401",
        victim: Victim::Blue2,
        because: "pe1 sends it on to pe2, whose label of blue is 401",
        reason: "label_spoofed",
    },
];

/// What came of an attack.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What the victim received, apart from what was meant for it.
    pub(super) received: Vec<Datagram>,
    /// Whether that is everything that was forged, in order and under the attacker's address.
    pub(super) complete: bool,
}

/// The attacker, the victims, and those who show that nothing is on its way any more.
#[derive(Debug)]
pub(super) struct Attacker<'a> {
    network: &'a Network,
    socket: UdpSocket,
    blue1: Resident,
    blue2: Resident,
    /// A legitimate way over the same wire.
    same_wire: Dialogue,
}

/// A host of blue that receives, and writes to the other one.
#[derive(Debug)]
struct Resident {
    name: String,
    mailbox: Mailbox,
    socket: UdpSocket,
}

impl Resident {
    fn of(host: &Host) -> Result<Self> {
        let socket = socket_in(&host.namespace, 0)?;
        Ok(Self { name: host.to_string(), mailbox: Mailbox::of(host)?, socket })
    }
}

impl<'a> Attacker<'a> {
    pub(super) fn new(network: &'a Network) -> Result<Self> {
        Ok(Self {
            network,
            socket: socket_in(&network.asbr, 0)?,
            blue1: Resident::of(&network.blue1)?,
            blue2: Resident::of(&network.blue2)?,
            same_wire: Dialogue::new(&network.red3, &network.red1)?,
        })
    }

    /// What the attacker types before it sends.
    pub(super) fn command(&self, attack: &Attack) -> String {
        let to = self.resident(attack.victim).mailbox.address();
        format!("ip route replace {} encap mpls {} via 192.0.2.1", to.ip(), attack.labels)
    }

    pub(super) fn victim(&self, attack: &Attack) -> &str {
        &self.resident(attack.victim).name
    }

    /// Forges [`EACH`] datagrams and looks what the victim gets, of which so many are expected.
    pub(super) fn strike(
        &mut self,
        attack: &Attack,
        act: &str,
        expected: usize,
    ) -> Result<Outcome> {
        configure(&self.network.asbr, &self.command(attack))?;
        let to = self.resident(attack.victim).mailbox.address();
        let stack = attack.stack();
        let texts: Vec<_> =
            (1..=EACH).map(|n| format!("forged {stack}, {act}, {n} of {EACH}")).collect();
        for text in &texts {
            let sent = self.socket.send_to(text.as_bytes(), to);
            sent.with_context(|| format!("the attacker sends to {to} with {stack}"))?;
        }
        // Over the wire and through pe1 after the forged ones, then to the victim after those that
        // pe1 let through: what has not come by then does not come.
        self.same_wire.round_trip().with_context(|| format!("after {stack}"))?;
        let last = format!("from blue to blue after {stack}, {act}");
        let friend = self.resident(attack.victim.other());
        friend.socket.send_to(last.as_bytes(), to).context("blue writes to blue")?;
        let received = self.resident(attack.victim).mailbox.take_up_to(&last, expected)?;
        let complete = received.iter().map(|datagram| &datagram.text).eq(&texts)
            && received.iter().all(|datagram| datagram.from == ATTACKER);
        Ok(Outcome { received, complete })
    }

    fn resident(&self, victim: Victim) -> &Resident {
        match victim {
            Victim::Blue1 => &self.blue1,
            Victim::Blue2 => &self.blue2,
        }
    }
}

impl Attack {
    /// The stack as it is written in text.
    pub(super) fn stack(&self) -> String {
        format!("[{}]", self.labels.replace('/', " "))
    }
}

impl Victim {
    const fn other(self) -> Self {
        match self {
            Self::Blue1 => Self::Blue2,
            Self::Blue2 => Self::Blue1,
        }
    }
}

/// What the neighbour's ingress counted of refused packets.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Counters {
    pub(super) dropped: u64,
    pub(super) would_drop: u64,
    /// By reason; those that did not occur are left out.
    pub(super) reasons: BTreeMap<String, u64>,
}

impl Counters {
    /// Takes them from what `stats --json` says.
    pub(super) fn read(stats: &Value) -> Result<Self> {
        let ingress = ingress(stats, INGRESS)?;
        let packets = |counter: &Value| {
            counter["packets"].as_u64().with_context(|| format!("no packets in {counter}"))
        };
        let reasons = ingress["reasons"].as_object().context("no reasons in the counters")?;
        let reasons = reasons
            .iter()
            .map(|(reason, counter)| Ok((reason.clone(), packets(counter)?)))
            .filter(|reason| !matches!(reason, Ok((_, 0))))
            .collect::<Result<_>>()?;
        Ok(Self {
            dropped: packets(&ingress["dropped"])?,
            would_drop: packets(&ingress["would_drop"])?,
            reasons,
        })
    }

    /// How much they have grown.
    pub(super) fn since(&self, before: &Self) -> Result<Self> {
        let grown = |now: u64, before: u64| {
            now.checked_sub(before).context("a counter went back").map(|more| (more, more > 0))
        };
        let mut reasons = BTreeMap::new();
        for (reason, &count) in &self.reasons {
            let (more, any) = grown(count, before.reasons.get(reason).copied().unwrap_or(0))?;
            if any {
                reasons.insert(reason.clone(), more);
            }
        }
        Ok(Self {
            dropped: grown(self.dropped, before.dropped)?.0,
            would_drop: grown(self.would_drop, before.would_drop)?.0,
            reasons,
        })
    }
}

/// An ingress in what `stats --json` says.
pub(super) fn ingress<'a>(stats: &'a Value, name: &str) -> Result<&'a Value> {
    let mut all = stats["ingresses"].as_array().into_iter().flatten();
    all.find(|ingress| ingress["ingress"] == name)
        .with_context(|| format!("the counters have no ingress {name}"))
}
