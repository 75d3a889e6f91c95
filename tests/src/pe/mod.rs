//! The attack and its end on a PE that really forwards MPLS, for people to watch:
//! `cargo xtask vm demo`.
//!
//! It needs a kernel with MPLS forwarding and VRFs and therefore usually runs in a virtual machine.
//! Routers and hosts are network namespaces; what forwards between them is the kernel. Hosts of two
//! customers talk all the time. A neighbour forges labels, first without the filter, then with the
//! filter in monitor mode, then enforced, and then without it again. Every statement on the screen
//! is checked against what hosts received and what the filter counted.

mod attack;
mod network;
mod report;
mod traffic;

use std::fs;
use std::io::Write;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::lab::require_root;
use crate::leak::{Objects, entries_of_bpffs};
use attack::{ATTACKS, Attack, Attacker, Counters, EACH, ingress};
use network::{Network, configure};
use report::{ACTS, Act, Findings};
use traffic::{Answering, Conversation, Tally};

/// The policy, first in monitor mode.
pub const POLICY: &str = include_str!("policy.toml");
/// What `init` writes on pe1, without comments.
const FIRST_POLICY: &str = include_str!("first_policy.toml");
/// Turning the spare port off for MPLS.
const CLOSE_SPARE_PORT: &str = "sysctl net.mpls.conf.eth5.input=0";
/// The tag must be in the frame where the filter looks.
const TAG_STRIPPING: &str = "rx-vlan-hw-parse";
/// Answers that every conversation gets in each act, at least.
const ANSWERS: u64 = 25;

/// Runs the demonstration and tells what happens.
///
/// # Errors
///
/// When not root, when the kernel does not forward MPLS, when the network cannot be built, or when
/// something that is claimed on the screen is not so.
pub fn run(out: &mut impl Write) -> Result<()> {
    require_root()?;
    let network = Network::new()?;
    report::introduction(out)?;
    let answering =
        network.hosts().into_iter().map(Answering::start).collect::<Result<Vec<_>>>()?;
    let conversations = conversations(&network)?;
    let mut stage = Stage {
        out,
        network: &network,
        attacker: Attacker::new(&network)?,
        conversations,
        findings: Findings::default(),
    };
    let stripping = network.eth2.feature(TAG_STRIPPING)?;
    let [unprotected, watched, protected, unprotected_again] = &ACTS;
    stage.without_the_filter(unprotected)?;
    let objects = stage.monitored(watched)?;
    stage.enforced(protected)?;
    stage.without_the_filter_again(unprotected_again, &objects, stripping)?;
    let Stage { conversations, mut findings, .. } = stage;
    let tallies = conversations.into_iter().map(Conversation::stop).collect::<Result<Vec<_>>>()?;
    for host in answering {
        host.stop()?;
    }
    network.take_down()?;
    let lost: usize = tallies.iter().map(|tally| tally.lost.len()).sum();
    let asked = tallies.iter().map(|tally| tally.answered).sum::<u64>() + lost as u64;
    writeln!(out)?;
    findings.check(
        out,
        tallies.iter().all(Tally::is_spotless),
        &format!(
            "red and blue asked {asked} times from act 1 to the end and missed {lost} answers"
        ),
    )?;
    findings.summary(out)?;
    ensure!(findings.wrong().is_empty(), "not so: {}", findings.wrong().join("; "));
    Ok(())
}

/// Everything that takes part.
struct Stage<'a, W> {
    out: &'a mut W,
    network: &'a Network,
    attacker: Attacker<'a>,
    conversations: Vec<Conversation>,
    findings: Findings,
}

/// What is to become of the forged packets.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Fate {
    Delivered,
    Monitored,
    Dropped,
}

impl<W: Write> Stage<'_, W> {
    fn without_the_filter(&mut self, act: &Act) -> Result<()> {
        let start = self.begin(act)?;
        self.strike(act, Fate::Delivered)?;
        self.let_them_talk("so far", &start)
    }

    fn monitored(&mut self, act: &Act) -> Result<Objects> {
        let start = self.begin(act)?;
        self.first_policy()?;
        report::command(self.out, "pe1# cat policy.toml", POLICY.trim_end())?;
        let said = self.network.pe1.apply(POLICY, &[])?;
        report::command(self.out, "pe1# mpls-xdp apply policy.toml", &said)?;
        let objects = Objects::pinned_under(self.network.pe1.store().bpffs())?;
        self.check(names(&said, "eth5"), "apply names eth5: it takes MPLS and is in no ingress")?;
        self.check(
            ["eth2.100", "eth3"].iter().all(|covered| !names(&said, covered)),
            "apply does not name eth2.100 and eth3: the policy covers them",
        )?;

        configure(self.network.pe1.namespace(), CLOSE_SPARE_PORT)?;
        report::command(self.out, &format!("pe1# {CLOSE_SPARE_PORT}"), "")?;
        let said = self.network.pe1.mpls_xdp(["status"])?;
        report::command(self.out, "pe1# mpls-xdp status", &said)?;
        self.check(!names(&said, "eth5"), "the hole at eth5 is closed")?;

        self.strike(act, Fate::Monitored)?;
        self.let_them_talk("since act 2 began", &start)?;
        Ok(objects)
    }

    /// What the router itself knows of its policy.
    fn first_policy(&mut self) -> Result<()> {
        let pe1 = &self.network.pe1;
        let written = pe1.mpls_xdp(["init", "--core", "eth3"])?;
        let is_word = |line: &&str| !line.is_empty() && !line.starts_with('#');
        let words: Vec<_> = written.lines().filter(is_word).collect();
        let call = "pe1# mpls-xdp init --core eth3 | grep -v '^#'";
        report::command(self.out, call, &words.join("\n"))?;
        self.check(
            words == FIRST_POLICY.lines().collect::<Vec<_>>(),
            "init knows the labels, the VRFs and their customers, and where MPLS comes in",
        )?;
        self.suggested_policy(&written)
    }

    /// What the neighbour sends while nobody has said what it may.
    fn suggested_policy(&mut self, first: &str) -> Result<()> {
        let pe1 = &self.network.pe1;
        pe1.apply(first, &[])?;
        let file = pe1.store().directory().join("observed.toml");
        let name = file.to_str().context("the lab's folder is not UTF-8")?;
        let call = ["suggest", "--ingress", "eth2-100", "--for", "10s", "--output"];
        pe1.mpls_xdp(call.into_iter().chain([name]))?;
        let written = fs::read_to_string(&file)?;
        let observed = written.split_once("# Ingress eth2-100:").map_or("", |(_, rest)| rest);
        let call = format!(
            "pe1# mpls-xdp {} observed.toml\npe1# sed '1,/Ingress eth2-100/d' observed.toml",
            call.join(" ")
        );
        report::command(self.out, &call, observed.trim())?;
        let rule = "[contexts.observed-eth2-100]\nkind = \"transport\"\nlabels = [24000]\n";
        let accepted = pe1.apply(&written, &[])?;
        pe1.mpls_xdp(["detach", "--all"])?;
        self.check(
            observed.contains(rule) && accepted.contains("in force"),
            "suggest makes a rule of the label that pe1 swaps for the neighbour",
        )?;
        self.check(
            observed.contains("label 100: ") && observed.contains("VRF context red"),
            "and leaves the one that leads into VRF red to a human",
        )
    }

    fn enforced(&mut self, act: &Act) -> Result<()> {
        let start = self.begin(act)?;
        let said = self.network.pe1.apply(&POLICY.replace("\"monitor\"", "\"enforce\""), &[])?;
        let call = "pe1# sed -i s/monitor/enforce/ policy.toml\npe1# mpls-xdp apply policy.toml";
        report::command(self.out, call, &said)?;
        self.strike(act, Fate::Dropped)?;
        self.let_them_talk("since act 3 began", &start)?;
        let said = self.network.pe1.mpls_xdp(["stats"])?;
        report::command(self.out, "pe1# mpls-xdp stats", &said)?;
        self.check_counters(&self.network.pe1.stats()?)
    }

    fn without_the_filter_again(
        &mut self,
        act: &Act,
        objects: &Objects,
        stripping: bool,
    ) -> Result<()> {
        let start = self.begin(act)?;
        let said = self.network.pe1.mpls_xdp(["detach", "--all"])?;
        report::command(self.out, "pe1# mpls-xdp detach --all", &said)?;
        let gone = objects.wait_until_gone().is_ok()
            && entries_of_bpffs(self.network.pe1.store().bpffs())?.is_empty();
        let count = objects.programs.len() + objects.maps.len() + objects.links.len();
        self.check(
            gone && count > 0,
            &format!("of {count} programs, maps and links none is left, and no pin"),
        )?;
        let restored = self.network.eth2.feature(TAG_STRIPPING)? == stripping;
        self.check(restored, "the VLAN offload of eth2 is as it was")?;
        self.strike(act, Fate::Delivered)?;
        self.let_them_talk("since act 4 began", &start)
    }

    /// Announces an act and says how the conversations stand.
    fn begin(&mut self, act: &Act) -> Result<Vec<Tally>> {
        report::act(self.out, act)?;
        Ok(self.tallies())
    }

    /// Every attack once, and what is to become of it.
    fn strike(&mut self, act: &Act, fate: Fate) -> Result<()> {
        let expected = if fate == Fate::Dropped { 0 } else { EACH };
        let mut before = self.counters(fate)?;
        for attack in &ATTACKS {
            let outcome = self.attacker.strike(attack, act.name, expected)?;
            let after = self.counters(fate)?;
            let counted = match (&before, &after) {
                (Some(before), Some(after)) => Some(after.since(before)?),
                _ => None,
            };
            before = after;
            let call = self.attacker.command(attack);
            let victim = self.attacker.victim(attack).to_owned();
            report::attack(self.out, &call, &victim, &outcome, counted.as_ref())?;

            let Attack { reason, because, .. } = attack;
            let stack = attack.stack();
            let (complete, none) = (outcome.complete, outcome.received.is_empty());
            let right = counted == fate.counters(reason);
            match fate {
                Fate::Delivered => {
                    self.check(complete && right, &format!("all {EACH} are in {victim}: {because}"))
                }
                Fate::Monitored => self.check(
                    complete && right,
                    &format!("{stack} is still delivered, and counted as {reason}"),
                ),
                Fate::Dropped => self
                    .check(none && right, &format!("{stack} is dropped, and counted as {reason}")),
            }?;
        }
        Ok(())
    }

    /// The counters of the neighbour's ingress, if there is a filter to have them.
    fn counters(&self, fate: Fate) -> Result<Option<Counters>> {
        match fate {
            Fate::Delivered => Ok(None),
            Fate::Monitored | Fate::Dropped => Counters::read(&self.network.pe1.stats()?).map(Some),
        }
    }

    /// Lets every conversation go on for a while, and looks for losses.
    fn let_them_talk(&mut self, since: &str, start: &[Tally]) -> Result<()> {
        let now = self.tallies();
        for (conversation, now) in self.conversations.iter().zip(&now) {
            conversation.wait_for(ANSWERS, now);
        }
        let now = self.tallies();
        let rows = self.conversations.iter().zip(start.iter().zip(&now));
        let rows: Vec<_> =
            rows.map(|(talk, (start, now))| (talk, start.clone(), now.clone())).collect();
        report::conversations(self.out, since, &rows)?;
        for strange in now.iter().filter_map(|tally| tally.strange.as_deref()) {
            writeln!(self.out, "  instead of an answer: {strange}")?;
        }
        self.check(now.iter().all(Tally::is_spotless), "no packet of a customer was lost")
    }

    /// All acts with the filter together.
    fn check_counters(&mut self, stats: &Value) -> Result<()> {
        let forged = (ATTACKS.len() * EACH) as u64;
        let counters = Counters::read(stats)?;
        self.check(
            (counters.would_drop, counters.dropped) == (forged, forged),
            &format!("every forged packet is counted: {forged} in act 2 and {forged} in act 3"),
        )?;
        let unbound = stats["interfaces"].as_array().context("no interfaces in the counters")?;
        let tagged = !unbound.is_empty()
            && unbound.iter().all(|interface| interface["unbound"]["packets"] == 0);
        self.check(tagged, "each labelled frame had the VLAN tag that the policy expects")?;
        let plain = counters.reasons.get("label_out_of_vrf") == Some(&(2 * EACH as u64));
        self.check(plain, "the bare label of blue is counted as label_out_of_vrf in both acts")?;
        let accepts = |name: &str, rules: &[&str]| -> Result<bool> {
            let ingress = ingress(stats, name)?;
            let all = ingress["rules"].as_array().context("no rules in the counters")?;
            let used = all.iter().filter(|rule| rule["packets"].as_u64() > Some(0));
            let refused = ["dropped", "would_drop"].map(|verdict| &ingress[verdict]["packets"]);
            let clean = name != "core-a" || refused.iter().all(|packets| **packets == 0);
            Ok(clean && used.filter_map(|rule| rule["rule"].as_str()).eq(rules.iter().copied()))
        };
        self.check(
            accepts(attack::INGRESS, &["red", "labels"])?,
            "from the neighbour, red's label and the option B labels were accepted",
        )?;
        self.check(
            accepts("core-a", &["red", "blue", "labels"])?,
            "from the core, 100 and 200 came bare (PHP), and nothing was refused",
        )
    }

    fn check(&mut self, holds: bool, statement: &str) -> Result<()> {
        Ok(self.findings.check(self.out, holds, statement)?)
    }

    fn tallies(&self) -> Vec<Tally> {
        self.conversations.iter().map(Conversation::tally).collect()
    }
}

impl Fate {
    /// What the filter is to count of one attack, all of it for this reason.
    fn counters(self, reason: &str) -> Option<Counters> {
        let each = EACH as u64;
        let (dropped, would_drop) = match self {
            Self::Delivered => return None,
            Self::Monitored => (0, each),
            Self::Dropped => (each, 0),
        };
        Some(Counters { dropped, would_drop, reasons: [(reason.to_owned(), each)].into() })
    }
}

fn conversations(network: &Network) -> Result<Vec<Conversation>> {
    let Network { red1, red2, red3, blue1, blue2, .. } = network;
    [
        (red2, red1, "from the core: pe1 gets [100]"),
        (blue2, blue1, "from the core: pe1 gets [200]"),
        (red3, red1, "from the neighbour: [100]"),
        (red3, red2, "through pe1: [24000] and [24064]"),
    ]
    .into_iter()
    .map(|(from, to, path)| Conversation::start(from, to, path))
    .collect()
}

/// Whether a list of uncovered interfaces has this one.
fn names(said: &str, interface: &str) -> bool {
    said.lines().any(|line| line.trim_start().starts_with(&format!("{interface}: ")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_policy_is_the_one_that_the_readme_explains() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
        let readme = fs::read_to_string(path).unwrap();
        assert!(readme.contains(&format!("```toml\n{POLICY}```")), "{POLICY}");
    }

    #[test]
    fn uncovered_interfaces_are_found_by_their_whole_name() {
        let said = "attach to: eth3, eth5\n  eth3.7: no ingress\n  eth5: no ingress names it";
        assert!(names(said, "eth5") && names(said, "eth3.7"));
        assert!(!names(said, "eth3") && !names(said, "eth50"));
    }
}
