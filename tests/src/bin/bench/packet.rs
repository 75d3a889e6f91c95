//! What a frame takes, by what is in it.

use anyhow::{Result, ensure};
use mpls_xdp_tests::frame::{Frame, IPV4, LabelEntry, MPLS_UPSTREAM, label_stack};

use super::Effort;
use super::report::{Group, Report, Unit};
use super::rounds::Rounds;
use super::stand::{DROP, PASS, Stand, on_wire};

const IPV6: u16 = 0x86dd;

const POLICY: &str = r#"
version = 1

[contexts]
core = { kind = "transport", labels = ["16000-16006", "16008-23999"] }
own-sid = { kind = "transport", labels = [16007], pops = true }
elsewhere = { kind = "transport", labels = [30000] }
red = { kind = "vrf", labels = [100, "1000-1099"] }
blue = { kind = "vrf", labels = [200] }

[ingress]
core = { interface = "filtered", role = "core", contexts = ["core", "own-sid", "red"] }
tagged = { interface = "filtered", vlan = [100], role = "core", contexts = ["core", "own-sid", "red"] }
qinq = { interface = "filtered", vlan = [200, 100], role = "core", contexts = ["core", "own-sid", "red"] }
customer = { interface = "filtered", vlan = [300], role = "customer" }
peer = { interface = "filtered", vlan = [301], role = "peer", contexts = ["red"], max-depth = 1 }
monitor = { interface = "filtered", vlan = [302], role = "core", contexts = ["core", "own-sid", "red"], mode = "monitor" }
validate = { interface = "filtered", vlan = [303], role = "core", contexts = ["core", "own-sid", "red"], inner = "validate" }
"#;

/// What becomes of a frame.
#[derive(Clone, Copy)]
enum Fate {
    Untouched,
    Accepted,
    Dropped(&'static str),
    WouldDrop(&'static str),
}

fn case(name: &str, fate: Fate, frame: &Frame) -> (String, Fate, Vec<u8>) {
    (name.to_owned(), fate, on_wire(frame))
}

fn cases() -> Vec<(String, Fate, Vec<u8>)> {
    use Fate::{Accepted, Dropped, Untouched, WouldDrop};
    let mut cases = vec![
        case("not MPLS: IPv4", Untouched, &Frame::new(IPV4)),
        case("not MPLS: IPv6", Untouched, &Frame::new(IPV6)),
        case("not MPLS: IPv4, 1 tag", Untouched, &Frame::new(IPV4).vlan(100)),
        case("not MPLS: IPv4, 2 tags", Untouched, &Frame::new(IPV4).vlan(200).vlan(100)),
        case("accepted: 1 tag", Accepted, &Frame::mpls([100]).vlan(100)),
        case("accepted: 2 tags", Accepted, &Frame::mpls([100]).vlan(200).vlan(100)),
        case("accepted: explicit null", Accepted, &Frame::mpls([0])),
        case("monitored, 1 tag: accepted", Accepted, &Frame::mpls([100]).vlan(302)),
        case(
            "monitored, 1 tag: would drop",
            WouldDrop("label_out_of_vrf"),
            &Frame::mpls([200]).vlan(302),
        ),
    ];
    for depth in [1, 3, 8, 16] {
        let noun = if depth == 1 { "entry" } else { "entries" };
        let opaque = (0..depth).map(|at| if at == 0 { 16_000 } else { 100 + at });
        cases.push(case(&format!("accepted: {depth} {noun}"), Accepted, &Frame::mpls(opaque)));
        let validated = Frame::mpls((0..depth).map(|at| 16_000 + at / 7 * 8 + at % 7)).vlan(303);
        cases.push(case(
            &format!("accepted: {depth} {noun}, all examined, 1 tag"),
            Accepted,
            &validated,
        ));
        if depth > 1 {
            let popped = (1..=depth).map(|at| if at == depth { 100 } else { 16_007 });
            cases.push(case(
                &format!("accepted: {depth} {noun}, all popped"),
                Accepted,
                &Frame::mpls(popped),
            ));
        }
    }
    let dropped = [
        ("label_out_of_vrf", Frame::mpls([200])),
        ("label_spoofed", Frame::mpls([30_000])),
        ("label_out_of_range", Frame::mpls([999_999])),
        ("upstream_not_allowed", Frame::mpls([100]).ether_type(MPLS_UPSTREAM)),
        ("ttl_zero", Frame::mpls([]).stack([LabelEntry::new(100).ttl(0).bottom()])),
        ("implicit_null", Frame::mpls([3])),
        ("reserved_label", Frame::mpls([8])),
        ("mna_at_bottom", Frame::mpls([4])),
        ("special_label_not_allowed", Frame::mpls([14])),
        ("router_alert_at_bottom", Frame::mpls([1])),
        ("eli_at_bottom", Frame::mpls([7])),
        ("entropy_label_reserved", Frame::mpls([7, 5])),
        ("xl_at_bottom", Frame::mpls([15])),
        ("extended_label_invalid", Frame::mpls([15, 5])),
        ("extended_label_not_allowed", Frame::mpls([15, 100])),
    ];
    cases.extend(
        dropped
            .iter()
            .map(|(reason, frame)| case(&format!("dropped: {reason}"), Dropped(reason), frame)),
    );
    let tagged = [
        ("mpls_not_enabled", "1 tag", Frame::mpls([100]).vlan(300)),
        ("stack_too_deep", "1 tag, 2 entries", Frame::mpls([100, 200]).vlan(301)),
        ("ingress_unbound", "1 tag", Frame::mpls([100]).vlan(999)),
        ("vlan_too_deep", "5 tags", Frame::mpls([100]).vlan(1).vlan(1).vlan(1).vlan(1).vlan(1)),
    ];
    cases.extend(tagged.iter().map(|(reason, with, frame)| {
        case(&format!("dropped: {reason}, {with}"), Dropped(reason), frame)
    }));
    // The frame ends behind an entry without S.
    let unfinished = Frame::mpls([]).stack(label_stack([16_007, 100])).cut(18).build();
    cases.push(("dropped: truncated, 18 bytes".to_owned(), Dropped("truncated"), unfinished));
    cases
}

/// Measures each kind of frame.
pub fn measure(effort: &Effort, report: &mut Report) -> Result<()> {
    const EMPTY: &str = "empty program";
    let stand = Stand::new(POLICY)?;
    let cases = cases();
    check(&stand, &cases)?;

    let mut candidates = vec![(EMPTY.to_owned(), (&stand.empty, &cases[0].2))];
    candidates.extend(cases.iter().map(|(name, _, frame)| (name.clone(), (&stand.filter, frame))));
    let rounds = Rounds::take(effort.rounds, &candidates, |(program, frame)| {
        Ok(program.run(frame, effort.repeat)?.1)
    })?;
    report.add(
        Group::Packet,
        "the test run itself, empty program",
        Unit::Nanoseconds,
        rounds.of(EMPTY)?,
    );
    for (name, _, _) in &cases {
        report.add(Group::Packet, name, Unit::Nanoseconds, rounds.over(name, EMPTY)?);
    }
    Ok(())
}

/// Sends each frame once and makes sure that it is what its name says.
fn check(stand: &Stand, cases: &[(String, Fate, Vec<u8>)]) -> Result<()> {
    for (name, fate, frame) in cases {
        let before = stand.place.counts()?;
        let (action, _) = stand.filter.run(frame, 1)?;
        let after = stand.place.counts()?;
        let (expected, accepted, reason) = match fate {
            Fate::Untouched => (PASS, 0, None),
            Fate::Accepted => (PASS, 1, None),
            Fate::Dropped(reason) => (DROP, 0, Some(*reason)),
            Fate::WouldDrop(reason) => (PASS, 0, Some(*reason)),
        };
        let counted = after.accepted() - before.accepted();
        let refused = reason.is_none_or(|reason| after.reason(reason) == before.reason(reason) + 1);
        ensure!(
            action == expected && counted == accepted && refused,
            "the filter did not do with a frame what is to be measured: {name}: XDP action \
             {action}, {counted} accepted"
        );
    }
    Ok(())
}
