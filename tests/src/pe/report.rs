//! What the demonstration prints. No line of its own is wider than a terminal of 80 columns.

use std::io::{Result, Write};

use super::attack::{Counters, EACH, INGRESS, Outcome};
use super::network::PE1;
use super::traffic::{Conversation, Datagram, Tally};

/// A part of the demonstration.
#[derive(Debug)]
pub(super) struct Act {
    /// As it stands in forged datagrams.
    pub(super) name: &'static str,
    title: &'static str,
    about: &'static str,
}

pub(super) const ACTS: [Act; 4] = [
    Act {
        name: "act 1",
        title: "ACT 1: WITHOUT THE FILTER",
        about: "\
BGP gave the neighbour labels 100 (VRF red) and 24000 (red behind pe2), and
red's site there uses them. An attacker on asbr needs one command of stock Linux
to use another label. Each time it sends 10 UDP datagrams.",
    },
    Act {
        name: "act 2",
        title: "ACT 2: THE FILTER WATCHES",
        about: "\
A policy says which labels may come in where. In monitor mode nothing is dropped
yet; what would be is counted.",
    },
    Act {
        name: "act 3",
        title: "ACT 3: THE FILTER ENFORCES",
        about: "\
One word of the policy changes. The new policy takes the place of the old one in
one step, for all interfaces, while the customers talk.",
    },
    Act {
        name: "act 4",
        title: "ACT 4: WITHOUT THE FILTER AGAIN",
        about: "If it was the filter, the attack works again once the filter is gone.",
    },
];

/// Prints what there is to see.
pub(super) fn introduction(out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "
A router obeys every label that it knows, whoever wrote it. Here a neighbour
gets into a customer's VPN that way, until mpls-xdp ends it.

THE NETWORK

   AS 65001, a peer                      AS 65000

 10.3.0.2                           ┌────────────────┐                  10.2.0.2
   red-3 ─── asbr ─── VLAN 100 ─── eth2    pe1     eth3 ─── p1 ─── pe2 ┬─ red-2
          (attacker)                └─ eth1 ──── eth4 ┘                └─ blue-2
                                        │          │
                                      red-1      blue-1
                                     10.1.0.2   10.1.0.2

Each is a network namespace with an IP stack of its own. The routers forward
with the VRFs, the MPLS and the VLANs of this kernel; nothing is simulated.
Customers red and blue use the same addresses: only the label says whose a
packet is. Their five hosts talk from now to the end. This is pe1:
"
    )?;
    for line in PE1.lines() {
        match line.strip_prefix("# ") {
            Some(remark) => writeln!(out, "  {remark}")?,
            None => writeln!(out, "pe1# {line}")?,
        }
    }
    Ok(())
}

/// Prints what an act is about.
pub(super) fn act(out: &mut impl Write, act: &Act) -> Result<()> {
    writeln!(out, "\n\n{}\n\n{}", act.title, act.about)
}

/// Prints what somebody types and what it says.
pub(super) fn command(out: &mut impl Write, call: &str, said: &str) -> Result<()> {
    writeln!(out, "\n{call}")?;
    for line in said.lines() {
        for part in folded(line) {
            writeln!(out, "{part}")?;
        }
    }
    Ok(())
}

/// Prints how an attack went, and what the filter counted if there is one.
pub(super) fn attack(
    out: &mut impl Write,
    call: &str,
    victim: &str,
    outcome: &Outcome,
    counted: Option<&Counters>,
) -> Result<()> {
    writeln!(out, "\nasbr# {call}")?;
    let received = outcome.received.len();
    match outcome.received.first() {
        Some(Datagram { text, from }) => {
            writeln!(out, "  {victim} receives {received} of {EACH}: “{text}” from {from}")?;
        }
        None => writeln!(out, "  {victim} receives nothing")?,
    }
    let Some(Counters { dropped, would_drop, reasons }) = counted else {
        return Ok(());
    };
    let reasons: Vec<_> =
        reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let reasons = reasons.join(", ");
    writeln!(out, "  {INGRESS} counts: {dropped} dropped, {would_drop} would drop: {reasons}")
}

/// Prints how the conversations stand since an earlier moment.
pub(super) fn conversations(
    out: &mut impl Write,
    since: &str,
    conversations: &[(&Conversation, Tally, Tally)],
) -> Result<()> {
    writeln!(
        out,
        "\n{:<52}{:>12}{:>8}",
        format!("The customers' packets {since}"),
        "ANSWERED",
        "LOST"
    )?;
    for (conversation, before, now) in conversations {
        let (answered, lost) = (now.answered - before.answered, now.lost.len() - before.lost.len());
        writeln!(out, "  {:<50}{answered:>12}{lost:>8}", conversation.title)?;
    }
    Ok(())
}

/// What the demonstration was to show, and whether it did.
#[derive(Debug, Default)]
pub(super) struct Findings {
    right: usize,
    wrong: Vec<String>,
}

impl Findings {
    /// Prints a statement that is to be true and remembers whether it is.
    pub(super) fn check(
        &mut self,
        out: &mut impl Write,
        holds: bool,
        statement: &str,
    ) -> Result<()> {
        let mark = if holds { "✓" } else { "✗" };
        if holds {
            self.right += 1;
        } else {
            self.wrong.push(statement.to_owned());
        }
        writeln!(out, "{mark} {statement}")
    }

    /// Prints how it all went.
    pub(super) fn summary(&self, out: &mut impl Write) -> Result<()> {
        let all = self.right + self.wrong.len();
        writeln!(out, "\n{} of {all} statements are true.", self.right)?;
        for statement in &self.wrong {
            writeln!(out, "✗ {statement}")?;
        }
        Ok(())
    }

    /// Those that are not true.
    pub(super) fn wrong(&self) -> &[String] {
        &self.wrong
    }
}

/// A line in parts that fit into 80 columns, broken at spaces.
fn folded(line: &str) -> Vec<String> {
    const WIDTH: usize = 80;
    let mut parts = vec![String::new()];
    for word in line.split_inclusive(' ') {
        let fits = |part: &str| part.chars().count() + word.trim_end().chars().count() <= WIDTH;
        if !parts.last().is_some_and(|part| fits(part)) {
            parts.push("    ".to_owned());
        }
        if let Some(last) = parts.last_mut() {
            last.push_str(word);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::attack::ATTACKS;
    use super::*;

    #[test]
    fn lines_fit_into_80_columns() {
        let mut out = Vec::new();
        introduction(&mut out).unwrap();
        for one in &ACTS {
            act(&mut out, one).unwrap();
        }
        for forged in &ATTACKS {
            let text = format!("forged {}, act 1, 1 of {EACH}", forged.stack());
            let from = Ipv4Addr::new(192, 0, 2, 2);
            let outcome = Outcome { received: vec![Datagram { from, text }; EACH], complete: true };
            let reasons = [(forged.reason.to_owned(), EACH as u64)].into();
            let counted = Counters { dropped: EACH as u64, would_drop: 0, reasons };
            attack(&mut out, "ip", "blue-1", &outcome, Some(&counted)).unwrap();
        }
        command(&mut out, "pe1# mpls-xdp status", &"words ".repeat(40)).unwrap();
        let text = String::from_utf8(out).unwrap();
        for line in text.lines() {
            assert!(line.trim_end().chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn what_is_not_so_is_marked_and_kept() {
        let (mut out, mut findings) = (Vec::new(), Findings::default());
        findings.check(&mut out, true, "this").unwrap();
        findings.check(&mut out, false, "that").unwrap();
        findings.summary(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "✓ this\n✗ that\n\n1 of 2 statements are true.\n✗ that\n");
        assert_eq!(findings.wrong(), ["that"]);
    }
}
