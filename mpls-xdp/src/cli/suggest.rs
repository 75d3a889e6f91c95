//! `mpls-xdp suggest`.

use std::{
    collections::HashMap,
    io::{Stdout, Write as _, stderr, stdout},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use mpls_xdp::{
    filter::{
        Folders, Stats, observe,
        rollout::{self, Earlier},
    },
    manifest::SPECIAL_RULE,
    policy::LabelSet,
    router::{self, Links},
    sampling::{Rates, Sampler, Selection},
    suggestion::{Facts, ObservedContext, Proposal, Remark, Sight, Sightings, Spot},
};
use serde::Serialize;

use super::{
    new_file, open,
    progress::Countdown,
    sampler::{Signals, Woken, unwrap_filter},
    text,
    time_limit::parse_time_limit,
    warn_waiting,
};

/// How many frames are sampled: what matters is which labels there are, not how often.
const RATES: Rates = Rates { per_second: 100, burst: 1000 };

/// Writes the policy in force with label sets from what came in and was refused, marked as observed.
/// Nothing is changed. A label is only proposed as a rule on an ingress in monitor mode, when this
/// router forwards it and it leads into no VRF; everything else is told in comments. Ctrl-C ends the
/// watch early, and what was seen until then is written.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  mpls-xdp suggest --for 10m --output observed.toml
      Watch for ten minutes; then `mpls-xdp diff observed.toml` shows what is proposed
  mpls-xdp suggest --ingress peer-as65001 --for 1h
      Show what this neighbour sends that its ingress does not accept")]
pub(super) struct Arguments {
    /// Watch for this time: 60s, 10m, 2h
    #[arg(long = "for", value_name = "TIME", default_value = "10m",
          value_parser = parse_time_limit)]
    time: Duration,
    /// Only frames of this ingress; can be given more than once
    #[arg(long, value_name = "INGRESS")]
    ingress: Vec<String>,
    /// Write the policy to FILE instead of the terminal
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace FILE if it is there
    #[arg(long, requires = "output")]
    force: bool,
    /// Print one JSON object with what is proposed, and the policy to FILE only
    #[arg(long)]
    json: bool,
}

pub(super) fn run(folders: &Folders, arguments: &Arguments) -> Result<ExitCode> {
    if let Some(path) = &arguments.output
        && !arguments.force
        && path.exists()
    {
        // Said before the watch, not after it.
        bail!(new_file::there_already(path));
    }
    let before = observe(folders)?.stats;
    let signals = Signals::take()?;
    let selection = Selection { ingresses: arguments.ingress.clone(), causes: Vec::new() };
    let sampler = Sampler::start(folders, selection, RATES, warn_waiting).map_err(unwrap_filter)?;
    let time = text::duration(arguments.time);
    let places = match &arguments.ingress[..] {
        [] => format!("on {}", sampler.interfaces().join(", ")),
        ingresses => format!("of {}", ingresses.join(", ")),
    };
    let _ = writeln!(stderr(), "watching refused frames {places} for {time}; Ctrl-C ends it early");
    let started = Instant::now();
    let (seen, generation) = watch(sampler, &signals, arguments.time)?;
    let watched = Watched {
        seen,
        time: started.elapsed(),
        unused: unused(&before, &observe(folders)?.stats, &arguments.ingress),
    };

    let Some((from, policy_text, policy)) = rollout::policy_in_force(&open(folders)?)? else {
        bail!("the filter was taken off meanwhile: there is no policy to add to");
    };
    if from.generation != generation || before.generation != generation {
        let _ = writeln!(
            stderr(),
            "the policy changed meanwhile: this is about generation {}",
            from.generation
        );
    }
    let links = Links::read()?;
    let labels = router::label_table();
    if let Err(error) = &labels {
        let _ = writeln!(stderr(), "{error}: nothing can be proposed but in comments");
    }
    let facts = Facts { policy: &policy, links: &links, labels: labels.as_deref().ok() };
    let proposal = Proposal::new(facts, &watched.seen);
    let written = proposal.write(&policy_text, &text::duration(watched.time), &watched.unused);
    publish(arguments, &from, &proposal, &watched, &written)?;
    Ok(ExitCode::SUCCESS)
}

/// What was seen, and until when.
struct Watched {
    seen: Sightings,
    time: Duration,
    /// Rules that had no frame.
    unused: Vec<String>,
}

/// Samples until the time is up, and says under which generation it ended.
fn watch(mut sampler: Sampler, signals: &Signals, time: Duration) -> Result<(Sightings, u64)> {
    let mut seen = Sightings::default();
    let end = Instant::now() + time;
    let mut countdown = Countdown::new();
    loop {
        sampler.tick().map_err(unwrap_filter)?;
        read(&mut sampler, &mut seen)?;
        let left = end.saturating_duration_since(Instant::now());
        countdown.show(left, || text::counted(seen.frames(), "frame", "frames") + " sampled");
        if left.is_zero() {
            break;
        }
        match signals.wait(&sampler, None::<&Stdout>, left)? {
            Woken::Signal => break,
            Woken::ReaderGone | Woken::Sampler => {}
        }
    }
    countdown.clear();
    sampler.halt().map_err(unwrap_filter)?;
    read(&mut sampler, &mut seen)?;
    let generation = sampler.generation();
    sampler.stop().map_err(unwrap_filter)?;
    Ok((seen, generation))
}

fn read(sampler: &mut Sampler, seen: &mut Sightings) -> Result<()> {
    while let Some(sample) = sampler.read().map_err(unwrap_filter)? {
        seen.add((&sample).into());
    }
    Ok(())
}

/// The rules that accepted nothing between two looks, of these ingresses or all. Special-purpose
/// labels are rare, and nobody writes a rule for them.
fn unused(before: &Stats, after: &Stats, only: &[String]) -> Vec<String> {
    let ingresses = before.ingresses.iter();
    let counted: HashMap<(&str, &str), u64> = ingresses
        .flat_map(|ingress| {
            let rules = ingress.rules.iter().filter(|rule| rule.rule != SPECIAL_RULE);
            rules.map(|rule| ((&*ingress.ingress, &*rule.rule), rule.counter.packets))
        })
        .collect();
    let asked = after.ingresses.iter();
    let asked = asked.filter(|ingress| only.is_empty() || only.contains(&ingress.ingress));
    asked
        .flat_map(|ingress| ingress.rules.iter().map(move |rule| (&*ingress.ingress, rule)))
        .filter(|(ingress, rule)| {
            // A rule that was not there before was not watched.
            counted.get(&(*ingress, &*rule.rule)) == Some(&rule.counter.packets)
        })
        .map(|(ingress, rule)| format!("{ingress}: {}", rule.rule))
        .collect()
}

fn publish(
    arguments: &Arguments,
    from: &Earlier,
    proposal: &Proposal,
    watched: &Watched,
    written: &str,
) -> Result<()> {
    if let Some(path) = &arguments.output {
        new_file::write(path, written, arguments.force)?;
    }
    if arguments.json {
        println!("{}", serde_json::to_string(&Document::new(from, proposal, watched))?);
    } else if arguments.output.is_none() {
        let mut out = stdout().lock();
        out.write_all(written.as_bytes())?;
        out.flush()?;
    }
    let _ = write!(stderr(), "{}", closing(arguments.output.as_deref(), proposal, watched));
    Ok(())
}

/// What is said at the end.
fn closing(output: Option<&Path>, proposal: &Proposal, watched: &Watched) -> String {
    let time = text::duration(watched.time);
    if watched.seen.is_empty() {
        return format!("Nothing was refused within {time}: there is nothing to propose.\n");
    }
    let frames = text::counted(watched.seen.frames(), "refused frame", "refused frames");
    let labels = text::counted(proposal.accepted() as u64, "label", "labels");
    let remarks: usize = proposal.places.iter().map(|place| place.remarks.len()).sum();
    let remarks = text::counted(remarks as u64, "remark", "remarks");
    let file = output.map_or_else(|| "FILE".to_owned(), |path| path.display().to_string());
    format!(
        "{frames} sampled in {time}: {labels} proposed as observed, {remarks} in comments.\n\
         Read it before anything else: that a label came in does not authorise it. Then:\n  \
         mpls-xdp check {file} --live\n  \
         mpls-xdp diff {file}\n  \
         mpls-xdp apply {file} --confirm-within 60s\n"
    )
}

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    from: &'a Earlier,
    seconds: f64,
    sampled: u64,
    places: Vec<PlaceDocument<'a>>,
    unused_rules: &'a [String],
}

#[derive(Serialize)]
struct PlaceDocument<'a> {
    #[serde(flatten)]
    spot: &'a Spot,
    observed: Vec<ObservedDocument<'a>>,
    remarks: Vec<RemarkDocument<'a>>,
    /// Frames sampled with labels that are too many to list.
    beyond: u64,
}

#[derive(Serialize)]
struct ObservedDocument<'a> {
    context: &'a str,
    pops: bool,
    #[serde(flatten)]
    frames: FramesDocument,
}

#[derive(Serialize)]
struct RemarkDocument<'a> {
    reason: &'static str,
    #[serde(flatten)]
    frames: FramesDocument,
    why: &'a str,
}

#[derive(Serialize)]
struct FramesDocument {
    /// First and last label of each range.
    labels: Vec<[u32; 2]>,
    sampled: u64,
    sources: Vec<String>,
    more_sources: bool,
}

impl FramesDocument {
    fn new(labels: &LabelSet, sight: &Sight) -> Self {
        Self {
            labels: labels.ranges().iter().map(|range| [*range.start(), *range.end()]).collect(),
            sampled: sight.frames,
            sources: sight.sources.kept.iter().map(ToString::to_string).collect(),
            more_sources: sight.sources.more,
        }
    }
}

impl<'a> Document<'a> {
    fn new(from: &'a Earlier, proposal: &'a Proposal, watched: &'a Watched) -> Self {
        let observed = |context: &'a ObservedContext| ObservedDocument {
            context: &context.name,
            pops: context.pops,
            frames: FramesDocument::new(&context.labels, &context.sight),
        };
        let remark = |remark: &'a Remark| RemarkDocument {
            reason: remark.cause.name(),
            frames: FramesDocument::new(&remark.labels, &remark.sight),
            why: &remark.why,
        };
        let places = proposal.places.iter().map(|place| PlaceDocument {
            spot: &place.spot,
            observed: place.contexts.iter().map(observed).collect(),
            remarks: place.remarks.iter().map(remark).collect(),
            beyond: place.beyond,
        });
        Self {
            schema: 1,
            from,
            seconds: watched.time.as_secs_f64(),
            sampled: watched.seen.frames(),
            places: places.collect(),
            unused_rules: &watched.unused,
        }
    }
}
