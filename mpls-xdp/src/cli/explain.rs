//! `mpls-xdp explain`.

use std::{
    fmt::Write as _,
    io::{Write as _, stdout},
    num::NonZeroUsize,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};
use mpls_xdp::{
    capture,
    explain::{Entry, Explainer, Framing, Owner, Packet, StackEntry, Step, Treatment},
    filter::FilterError,
    policy::InterfaceName,
    replay::{Outcome, Replay},
};
use serde::Serialize;
use thiserror::Error;

use super::{policy_file::PolicyFile, replay, text};

/// The verdict is the kernel program's; nothing is attached, and IF need not exist.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  mpls-xdp explain pe.toml --interface eth2 --vlan 100 --stack 100
      What happens to label 100 on VLAN 100 of eth2, and why
  mpls-xdp explain pe.toml --interface eth3 --pcap core.pcap --number 7
      The same for a frame of a capture")]
pub(super) struct Arguments {
    /// The policy file
    policy: PathBuf,
    /// Interface that the packet is received on, as the policy names it
    #[arg(long, value_name = "IF")]
    interface: InterfaceName,
    #[command(flatten)]
    packet: PacketArguments,
    /// VLAN IDs of the stack, outer to inner
    #[arg(long, value_name = "V[,V]", value_delimiter = ',',
          conflicts_with_all = ["frame", "pcap"], value_parser = clap::value_parser!(u16).range(0..=4095))]
    vlan: Vec<u16>,
    /// Send the stack with type 0x8848: upstream-assigned labels
    #[arg(long, conflicts_with_all = ["frame", "pcap"])]
    upstream: bool,
    /// Which frame of the capture, from 1
    #[arg(long, value_name = "N", conflicts_with_all = ["stack", "frame"])]
    number: Option<NonZeroUsize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct PacketArguments {
    /// Label stack from the top, such as 100,16007/7/64; TC 0 and TTL 64 unless said
    #[arg(long, value_name = "LABEL[/TC[/TTL]],…", value_delimiter = ',')]
    stack: Vec<StackEntry>,
    /// A frame from its destination address on; spaces and colons do not matter
    #[arg(long, value_name = "HEX", value_parser = hex)]
    frame: Option<Bytes>,
    /// A capture, pcap or pcapng, also gzipped
    #[arg(long, value_name = "FILE", requires = "number")]
    pcap: Option<PathBuf>,
}

/// The bytes of a frame.
#[derive(Clone)]
struct Bytes(Vec<u8>);

#[derive(Debug, Error, PartialEq, Eq)]
enum HexError {
    #[error("`{0}` is no hexadecimal digit")]
    Digit(char),
    #[error("half a byte at the end: {0} digits")]
    Half(usize),
}

fn hex(text: &str) -> Result<Bytes, HexError> {
    let digits = text
        .chars()
        .filter(|character| !character.is_whitespace() && *character != ':')
        .map(|character| {
            let digit = character.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            digit.ok_or(HexError::Digit(character))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let (bytes, rest) = digits.as_chunks::<2>();
    if rest.is_empty() {
        Ok(Bytes(bytes.iter().map(|[high, low]| high << 4 | low).collect()))
    } else {
        Err(HexError::Half(digits.len()))
    }
}

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    interface: &'a str,
    #[serde(flatten)]
    outcome: &'a Outcome,
    steps: &'a [Step],
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let file = PolicyFile::read(&arguments.policy)?;
    let policy = file.valid()?;
    let interface = arguments.interface.as_str();
    let (number, frame) = arguments.frame()?;
    let mut replay = Replay::new(policy, interface)?;
    let outcome = replay.run(number, &frame).map_err(FilterError::from)?;
    let account = Explainer::new(policy, &file.parsed.places).account(interface, number, &frame);
    ensure_agreement(&outcome, &account.outcome)?;
    let text = if arguments.json {
        let report = Report { schema: 1, interface, outcome: &outcome, steps: &account.steps };
        serde_json::to_string(&report)? + "\n"
    } else {
        let shown = Shown { file: &file.name, interface, length: frame.len() };
        shown.account(&account.steps, &outcome)
    };
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// An account of another verdict than the kernel program's would be worse than none.
fn ensure_agreement(kernel: &Outcome, account: &Outcome) -> Result<()> {
    ensure!(
        kernel == account,
        "the kernel program and the account of it DO NOT AGREE, so one of them is wrong; report \
         this with the policy and the frame\n kernel:  {}\n account: {}",
        replay::line(kernel),
        replay::line(account)
    );
    Ok(())
}

impl Arguments {
    /// The frame, and its number.
    fn frame(&self) -> Result<(usize, Vec<u8>)> {
        let PacketArguments { stack, frame, pcap } = &self.packet;
        match (frame, pcap, self.number) {
            (Some(Bytes(frame)), _, _) => Ok((1, frame.clone())),
            (None, Some(path), Some(number)) => {
                let frame = capture::frame(path, number.get());
                Ok((number.get(), frame.with_context(|| path.display().to_string())?))
            }
            _ => {
                let (vlans, stack) = (self.vlan.clone(), stack.clone());
                Ok((1, Packet { vlans, upstream: self.upstream, stack }.frame()))
            }
        }
    }
}

/// Columns before the text of a step.
const MARGIN: usize = 11;

/// What an account for people starts with.
struct Shown<'a> {
    file: &'a str,
    interface: &'a str,
    length: usize,
}

impl Shown<'_> {
    fn account(&self, steps: &[Step], outcome: &Outcome) -> String {
        let mut shown = paragraph("policy", self.file);
        shown += &paragraph(
            "frame",
            &format!(
                "{} bytes, received on {}",
                text::thousands(self.length as u64),
                self.interface
            ),
        );
        for step in steps {
            shown += &match step {
                Step::Framing { framing, decision } => {
                    paragraph("framing", &format!("{}: {decision}", tags(framing)))
                }
                Step::Ingress { ingress, line, decision, reason, source } => {
                    let name = ingress.as_deref().unwrap_or("none");
                    paragraph("ingress", &format!("{name}{}", at(*line)))
                        + &paragraph("", decision)
                        + &refusal(*reason, *source)
                }
                Step::Entry(entry) => Self::entry(entry),
            };
        }
        shown.push('\n');
        shown += &paragraph("verdict", &verdict(outcome));
        if let Some(reason) = outcome.reason {
            let advice = format!("`mpls-xdp help reason {reason}` says what to look at next");
            shown += &paragraph("", &advice);
        }
        shown
    }

    fn entry(entry: &Entry) -> String {
        let title = format!("entry {}", entry.position);
        let fields = entry.read.map_or_else(
            || "not complete".to_owned(),
            |read| {
                let name = read.name.map(|name| format!(", {name}")).unwrap_or_default();
                let (label, tc, ttl) = (read.label, read.tc, read.ttl);
                format!("label {label}{name}, TC {tc}, S {}, TTL {ttl}", u8::from(read.s))
            },
        );
        let mut shown = format!("\n{}", paragraph(&title, &fields));
        if entry.treatment == Treatment::NotReached {
            return shown + &paragraph("", &format!("{}: {}", entry.decision, entry.why));
        }
        let exposed = if entry.exposed { "exposed" } else { "not exposed" };
        shown += &paragraph("", &format!("{exposed}: {}", entry.why));
        for owner in &entry.found_in {
            let (kind, name, line) = match owner {
                Owner::Context { name, line } => ("in context", name, line),
                Owner::Ingress { name, line } => ("in the labels of ingress", name, line),
            };
            shown += &paragraph("", &format!("{kind} {name}{}", at(*line)));
        }
        let source = match (entry.reason, entry.source, entry.line) {
            (None, Some(source), Some(line)) => format!(" ({source}; line {line})"),
            (None, Some(source), None) => format!(" ({source})"),
            (_, _, line) => at(line),
        };
        shown += &paragraph("", &format!("{}{source}", entry.decision));
        shown + &refusal(entry.reason, entry.source)
    }
}

/// Where the policy says so.
fn at(line: Option<usize>) -> String {
    line.map(|line| format!(" (line {line})")).unwrap_or_default()
}

fn paragraph(title: &str, words: &str) -> String {
    text::paragraph(&format!("{title:<MARGIN$}"), words)
}

fn refusal(reason: Option<&str>, source: Option<&str>) -> String {
    match (reason, source) {
        (Some(reason), Some(source)) => paragraph("", &format!("REFUSED: {reason} ({source})")),
        _ => String::new(),
    }
}

fn tags(framing: &Framing) -> String {
    let mut words = String::new();
    for tag in &framing.tags {
        let priority = if tag.vid == 0 { " (priority tag, binds nothing)" } else { "" };
        write!(words, "tag {} VLAN {}{priority}, ", tag.tpid, tag.vid)
            .expect("a string takes all that is written");
    }
    let untagged = if framing.tags.is_empty() { "untagged, " } else { "" };
    match framing.ether_type {
        Some(ether_type) => format!("{untagged}{words}type {ether_type}"),
        None => format!("{untagged}{words}no type"),
    }
}

fn verdict(outcome: &Outcome) -> String {
    let becomes = match (outcome.verdict, outcome.reason) {
        ("pass", Some(_)) => "would drop (monitor)",
        (verdict, _) => verdict,
    };
    let mut words = format!("{becomes}: {}", replay::key(outcome));
    if let Some(ingress) = &outcome.ingress {
        words += &format!(" at {ingress}");
    }
    if let Some(position) = outcome.position {
        words += &format!(", entry {position}");
    }
    if let Some(label) = outcome.label {
        words += &format!(", label {label}");
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_with_spaces_and_colons() {
        for text in ["0200ffaB", "02:00:ff:ab", " 02 00\tff:AB\n"] {
            assert_eq!(hex(text).map(|bytes| bytes.0), Ok(vec![2, 0, 0xff, 0xab]), "{text}");
        }
        assert_eq!(hex("").map(|bytes| bytes.0), Ok(Vec::new()));
    }

    #[test]
    fn an_account_of_another_verdict_is_refused_loudly() {
        let kernel = Outcome {
            frame: 1,
            verdict: "drop",
            reason: Some("label_spoofed"),
            ingress: Some("core-a".to_owned()),
            position: Some(0),
            label: Some(100),
        };
        assert!(ensure_agreement(&kernel, &kernel).is_ok());
        let others = [
            Outcome { verdict: "pass", ..kernel.clone() },
            Outcome { reason: None, ..kernel.clone() },
            Outcome { ingress: None, ..kernel.clone() },
            Outcome { position: Some(1), ..kernel.clone() },
            Outcome { label: None, ..kernel.clone() },
        ];
        for account in others {
            let error = ensure_agreement(&kernel, &account).unwrap_err().to_string();
            assert!(error.contains("DO NOT AGREE"), "{error}");
            assert!(error.contains(&replay::line(&kernel)), "{error}");
            assert!(error.contains(&replay::line(&account)), "{error}");
        }
    }

    #[test]
    fn what_is_no_hex_is_named() {
        assert_eq!(hex("02 0g").err(), Some(HexError::Digit('g')));
        assert_eq!(hex("0x02").err(), Some(HexError::Digit('x')));
        assert_eq!(hex("020").err(), Some(HexError::Half(3)));
    }
}
