//! `mpls-xdp capture`.

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal as _, Stdout, Write, stderr, stdout},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use jiff::{Timestamp, tz::TimeZone};
use mpls_xdp::{
    filter::Folders,
    sampling::{
        Cause, Counts, Entry, Place, Rates, Sample, SampleWriter, Sampler, SamplingError,
        Selection, Summary, Tally,
    },
};
use mpls_xdp_ebpf::label_entry::LAST_LABEL;
use serde::Serialize;

use super::{
    sampler::{Signals, Woken, unwrap_filter},
    text, warn_waiting,
};

/// The frames are sampled in the kernel, at most RATE a second for each ingress and reason; what
/// was not sampled is counted and told at the end. One capture runs at a time. Ctrl-C ends it.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  mpls-xdp capture --ingress peer-as65001 --reason label_out_of_vrf
      Show what this neighbour sends into VRFs that it was not given
  mpls-xdp capture -w - | tshark -r -
      Have tshark show them as they come
  mpls-xdp capture -w refused.pcapng --count 100
      Keep the next hundred for later")]
pub(super) struct Arguments {
    /// Only frames of this ingress; can be given more than once
    #[arg(long, value_name = "INGRESS")]
    ingress: Vec<String>,
    /// Only frames that were refused for this reason; can be given more than once
    #[arg(long, value_name = "REASON", hide_possible_values = true,
          value_parser = PossibleValuesParser::new(Cause::all().map(Cause::name))
              .try_map(|name| name.parse::<Cause>()))]
    reason: Vec<Cause>,
    /// Only frames with a label of this one or of `FIRST-LAST` anywhere in their stack; can be
    /// given more than once. They are chosen among those that were sampled
    #[arg(long, value_name = "LABEL")]
    label: Vec<LabelRange>,
    /// Write pcapng to this file; `-` is standard output
    #[arg(short, long, value_name = "FILE", conflicts_with = "json")]
    write: Option<PathBuf>,
    /// End after so many frames
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Frames a second for each ingress and reason; as many may come at once
    #[arg(long, value_name = "RATE", default_value_t = Rates::default().per_second,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// Print one JSON object a frame, and one with the summary at the end
    #[arg(long)]
    json: bool,
}

/// One label, or all from the first to the last.
#[derive(Clone)]
struct LabelRange(RangeInclusive<u32>);

impl FromStr for LabelRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last && last <= LAST_LABEL => Ok(Self(first..=last)),
            _ => Err(format!("a label is a number up to {LAST_LABEL}, a range is FIRST-LAST")),
        }
    }
}

pub(super) fn run(folders: &Folders, arguments: &Arguments) -> Result<ExitCode> {
    let selection =
        Selection { ingresses: arguments.ingress.clone(), causes: arguments.reason.clone() };
    let rates = Rates { per_second: arguments.rate, burst: arguments.rate };
    // From here on a signal is read like everything else, and what was written stays whole.
    let signals = Signals::take()?;
    let mut sampler =
        Sampler::start(folders, selection, rates, warn_waiting).map_err(unwrap_filter)?;
    let mut sink = Sink::open(arguments, &sampler)?;
    let started = SystemTime::now();
    sink.announce(&sampler);

    let mut capture = Capture { arguments, shown: 0, hidden: 0, generation: sampler.generation() };
    let mut ended = capture.follow(&mut sampler, &mut sink, &signals);
    if let Ok(End::Signal) = ended {
        sampler.halt().map_err(unwrap_filter)?;
        ended = capture.pass_on(&mut sampler, &mut sink).map(|_| End::Signal).or_else(end);
    }
    let summary = sampler.stop().map_err(unwrap_filter)?;
    if !matches!(ended, Ok(End::ReaderGone)) {
        sink.finish(&summary)?;
    }
    let time = started.elapsed().unwrap_or_default();
    // Whoever read standard error may be gone as well.
    let _ = write!(stderr(), "{}", capture.closing(&summary, time));
    match ended? {
        End::TakenOff => Err(SamplingError::TakenOff.into()),
        End::Enough | End::Signal | End::ReaderGone => Ok(ExitCode::SUCCESS),
    }
}

/// Why a capture ends.
enum End {
    Enough,
    Signal,
    ReaderGone,
    TakenOff,
}

/// What has been done so far.
struct Capture<'a> {
    arguments: &'a Arguments,
    shown: u64,
    /// Samples without a label that was asked for.
    hidden: u64,
    generation: u64,
}

impl Capture<'_> {
    fn follow(&mut self, sampler: &mut Sampler, sink: &mut Sink, signals: &Signals) -> Result<End> {
        loop {
            match self.pass_on(sampler, sink) {
                Ok(None) => {}
                Ok(Some(end)) => return Ok(end),
                Err(failure) => return end(failure),
            }
            match signals.wait(sampler, sink.reader.as_ref(), Duration::MAX)? {
                Woken::Signal => return Ok(End::Signal),
                Woken::ReaderGone => return Ok(End::ReaderGone),
                Woken::Sampler => {}
            }
        }
    }

    /// Writes what was sampled.
    fn pass_on(&mut self, sampler: &mut Sampler, sink: &mut Sink) -> Result<Option<End>, Failure> {
        sampler.tick()?;
        while let Some(sample) = sampler.read()? {
            let ranges = &self.arguments.label;
            let asked = |entry: &Entry| ranges.iter().any(|range| range.0.contains(&entry.label));
            if !ranges.is_empty() && !sample.stack().iter().any(asked) {
                self.hidden += 1;
                continue;
            }
            sink.write(&sample)?;
            self.shown += 1;
            if Some(self.shown) == self.arguments.count {
                return Ok(Some(End::Enough));
            }
            sampler.tick()?;
        }
        sink.flush()?;
        if self.generation != sampler.generation() {
            self.generation = sampler.generation();
            let _ = writeln!(stderr(), "generation {} of the policy is in force", self.generation);
        }
        Ok(None)
    }

    /// What is said at the end.
    fn closing(&self, summary: &Summary, time: Duration) -> String {
        let mut said = format!(
            "\n{} shown in {:.1} s",
            text::counted(self.shown, "frame", "frames"),
            time.as_secs_f64()
        );
        if self.hidden > 0 {
            said += &format!(
                "; {} without the label",
                text::counted(self.hidden, "more was", "more were")
            );
        }
        said += ".\n";
        if summary.tallies.is_empty() {
            said += "Nothing that was asked for was refused meanwhile.\n";
            return said;
        }
        let mut rows = vec![
            ["WHERE", "REASON", "REFUSED", "SAMPLED", "OVER THE RATE", "BUFFER FULL"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for tally in &summary.tallies {
            let counts = tally.counts;
            let mut row = vec![name(&tally.place).to_owned(), tally.cause.name().to_owned()];
            let numbers = [counts.refused, counts.sampled, counts.over_rate, counts.ring_full];
            row.extend(numbers.map(text::thousands));
            rows.push(row);
        }
        said += "\n";
        said += &text::table(&rows, 2);
        if summary.unnamed > 0 {
            said += &format!(
                "{} of a policy that was in force too briefly to name them.\n",
                text::counted(summary.unnamed, "more frame was", "more frames were")
            );
        }
        if summary.tallies.iter().any(|tally| tally.counts.over_rate > 0) {
            said += "More of them: a higher `--rate`, or `--ingress` and `--reason`.\n";
        }
        said
    }
}

/// What ends a capture early.
enum Failure {
    Sampling(SamplingError),
    Write(io::Error),
}

impl From<SamplingError> for Failure {
    fn from(error: SamplingError) -> Self {
        Self::Sampling(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// How a capture ends that cannot go on.
fn end(failure: Failure) -> Result<End> {
    match failure {
        Failure::Write(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(End::ReaderGone),
        Failure::Write(error) => Err(error).context("cannot write the frames"),
        Failure::Sampling(SamplingError::TakenOff) => Ok(End::TakenOff),
        Failure::Sampling(error) => Err(unwrap_filter(error)),
    }
}

/// Where the frames go, and how.
struct Sink {
    format: Format,
    /// Standard output, if they go there.
    reader: Option<Stdout>,
}

enum Format {
    Lines { out: BufWriter<Stdout>, places: usize, zone: TimeZone },
    Json(BufWriter<Stdout>),
    Pcapng(SampleWriter<BufWriter<Box<dyn Write>>>),
}

/// What heads the lines.
const TITLES: [&str; 6] = ["TIME", "WHERE", "SOURCE", "STACK", "REASON", "VERDICT"];
/// Characters of a time of day with microseconds, and of a hardware address.
const TIME_WIDTH: usize = 15;
const MAC_WIDTH: usize = 17;
/// Characters of a stack with two labels, and of the longest reason.
const STACK_WIDTH: usize = 22;
const REASON_WIDTH: usize = 26;

impl Sink {
    fn open(arguments: &Arguments, sampler: &Sampler) -> Result<Self> {
        let out = || BufWriter::new(stdout());
        let pcapng = |writer: Box<dyn Write>| -> Result<Format> {
            let mut writer = SampleWriter::new(BufWriter::new(writer), &sampler.interfaces())?;
            // Wireshark shows the interfaces while it waits for the first frame.
            writer.flush()?;
            Ok(Format::Pcapng(writer))
        };
        let reader = Some(stdout());
        match &arguments.write {
            None if arguments.json => Ok(Self { format: Format::Json(out()), reader }),
            None => {
                let places = sampler.places().map(|place| name(place).len()).max().unwrap_or(0);
                let format = Format::Lines { out: out(), places, zone: TimeZone::system() };
                Ok(Self { format, reader })
            }
            Some(path) if path == Path::new("-") => {
                if stdout().is_terminal() {
                    bail!("pcapng is not for a terminal: `-w FILE`, or `-w - | wireshark -k -i -`");
                }
                Ok(Self { format: pcapng(Box::new(stdout()))?, reader })
            }
            Some(path) => {
                let cannot = || format!("cannot write {}", path.display());
                let file = File::create(path).with_context(cannot)?;
                Ok(Self { format: pcapng(Box::new(file)).with_context(cannot)?, reader: None })
            }
        }
    }

    /// Says what is being captured.
    fn announce(&self, sampler: &Sampler) {
        let interfaces = sampler.interfaces().join(", ");
        let _ = writeln!(stderr(), "capturing refused frames on {interfaces}; Ctrl-C ends it");
        if let Format::Lines { places, .. } = self.format {
            let _ = writeln!(stderr(), "{}", columns(TITLES.map(str::to_owned), places));
        }
    }

    fn write(&mut self, sample: &Sample) -> io::Result<()> {
        match &mut self.format {
            Format::Lines { out, places, zone } => {
                writeln!(out, "{}", columns(line(sample, zone), *places))
            }
            Format::Json(out) => json_line(out, &Frame::of(sample)),
            Format::Pcapng(writer) => writer.write(sample),
        }
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        match &mut self.format {
            Format::Lines { .. } => {}
            Format::Json(out) => json_line(out, &JsonSummary::of(summary))?,
            Format::Pcapng(writer) => writer.finish(summary)?,
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.format {
            Format::Lines { out, .. } | Format::Json(out) => out.flush(),
            Format::Pcapng(writer) => writer.flush(),
        }
    }
}

fn json_line(out: &mut impl Write, object: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, object)?;
    writeln!(out)
}

/// What people call a place.
fn name(place: &Place) -> &str {
    place.ingress.as_deref().unwrap_or(&place.interface)
}

fn line(sample: &Sample, zone: &TimeZone) -> [String; 6] {
    let time =
        timestamp(sample).to_zoned_datetime(zone.clone()).strftime("%H:%M:%S%.6f").to_string();
    let mut place = name(&sample.place).to_owned();
    if sample.place.ingress.is_none() {
        for vlan in sample.vlans() {
            place += &format!(".{vlan}");
        }
    }
    let stack = sample.stack();
    let mut entries: Vec<String> = stack.iter().map(ToString::to_string).collect();
    if stack.last().is_none_or(|last| !last.s) {
        entries.push("...".to_owned());
    }
    let source = sample.source().map_or_else(|| "-".to_owned(), |source| source.to_string());
    let verdict = if sample.dropped { "dropped" } else { "would drop" };
    [time, place, source, entries.join(","), sample.cause.name().to_owned(), verdict.to_owned()]
}

fn columns([time, place, source, stack, reason, verdict]: [String; 6], places: usize) -> String {
    format!(
        "{time:<TIME_WIDTH$}  {place:<places$}  {source:<MAC_WIDTH$}  {stack:<STACK_WIDTH$}  \
         {reason:<REASON_WIDTH$}  {verdict}"
    )
}

fn timestamp(sample: &Sample) -> Timestamp {
    Timestamp::try_from(sample.time).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A frame as JSON.
#[derive(Serialize)]
struct Frame<'a> {
    time: String,
    interface: &'a str,
    vlan: Vec<u16>,
    ingress: Option<&'a str>,
    source: Option<String>,
    stack: Vec<Entry>,
    verdict: &'static str,
    reason: &'static str,
    position: Option<u32>,
    label: Option<u32>,
    length: u32,
    frame: String,
}

impl<'a> Frame<'a> {
    fn of(sample: &'a Sample) -> Self {
        Self {
            time: format!("{:.9}", timestamp(sample)),
            interface: &sample.place.interface,
            vlan: sample.vlans(),
            ingress: sample.place.ingress.as_deref(),
            source: sample.source().map(|source| source.to_string()),
            stack: sample.stack(),
            verdict: if sample.dropped { "drop" } else { "pass" },
            reason: sample.cause.name(),
            position: sample.position,
            label: sample.label,
            length: sample.length,
            frame: sample.bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

/// The summary as JSON.
#[derive(Serialize)]
struct JsonSummary<'a> {
    schema: u32,
    summary: Vec<JsonTally<'a>>,
    unnamed: u64,
}

#[derive(Serialize)]
struct JsonTally<'a> {
    interface: &'a str,
    ingress: Option<&'a str>,
    reason: &'static str,
    #[serde(flatten)]
    counts: Counts,
}

impl<'a> JsonSummary<'a> {
    fn of(summary: &'a Summary) -> Self {
        let tally = |tally: &'a Tally| JsonTally {
            interface: &tally.place.interface,
            ingress: tally.place.ingress.as_deref(),
            reason: tally.cause.name(),
            counts: tally.counts,
        };
        let tallies = summary.tallies.iter().map(tally).collect();
        Self { schema: 1, summary: tallies, unnamed: summary.unnamed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_numbers_and_ranges() {
        for (text, range) in [("0", 0..=0), ("100", 100..=100), ("16-1048575", 16..=1_048_575)] {
            assert_eq!(text.parse::<LabelRange>().map(|labels| labels.0), Ok(range));
        }
        for text in ["", "-", "x", "20-10", "1048576", "1-2-3", "-5"] {
            assert!(text.parse::<LabelRange>().is_err(), "{text}");
        }
    }
}
