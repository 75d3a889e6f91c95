//! `mpls-xdp stats`.

use std::{
    collections::HashMap,
    io::{self, BufWriter, Write as _, stdout},
    iter,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anstream::AutoStream;
use anyhow::{Result, bail};
use mpls_xdp::filter::{self, CounterRow, Folders, Stats};

use super::{open, text};

/// Bytes that a pipe takes at a time.
const PIPE: usize = 64 << 10;

/// Counters go on over policy changes for every ingress and rule whose name stays.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  mpls-xdp stats --watch
      Every second, with rates
  mpls-xdp stats peer-as65001 --json
      The counters of one ingress as a JSON object")]
pub(super) struct Arguments {
    /// Only this ingress
    ingress: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Show reasons and rules that counted nothing as well
    #[arg(long)]
    all: bool,
    /// Show again every SECONDS, with rates
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1",
          value_parser = clap::value_parser!(u32).range(1..))]
    watch: Option<u32>,
}

pub(super) fn run(folders: &Folders, arguments: &Arguments) -> Result<ExitCode> {
    let mut before: Option<(Instant, HashMap<Vec<String>, CounterRow>)> = None;
    loop {
        let stats = read(folders, arguments.ingress.as_deref())?;
        let now = Instant::now();
        if arguments.json {
            // An object of thousands of ingresses has megabytes, and no colours to be taken out.
            let mut out = BufWriter::with_capacity(PIPE, stdout().lock());
            serde_json::to_writer(&mut out, &stats).map_err(io::Error::from)?;
            writeln!(out)?;
            out.flush()?;
        } else {
            let lines = lines(&stats, arguments.all);
            let rates = before.as_ref().map(|(then, rows)| (now.duration_since(*then), rows));
            let mut out = AutoStream::auto(stdout().lock());
            writeln!(out, "{}", render(&stats, &lines, rates))?;
            out.flush()?;
            before = Some((now, lines.into_iter().collect()));
        }
        let Some(seconds) = arguments.watch else {
            return Ok(ExitCode::SUCCESS);
        };
        thread::sleep(Duration::from_secs(seconds.into()));
    }
}

fn read(folders: &Folders, ingress: Option<&str>) -> Result<Stats> {
    let mut stats = filter::read_stats(&open(folders)?)?;
    if let Some(name) = ingress {
        let all: Vec<String> = stats.ingresses.iter().map(|entry| entry.ingress.clone()).collect();
        stats.ingresses.retain(|entry| entry.ingress == name);
        let Some(entry) = stats.ingresses.first() else {
            bail!("the policy in force has no ingress {name}; it has {}", all.join(", "));
        };
        stats.interfaces.retain(|interface| interface.interface == entry.interface);
    }
    Ok(stats)
}

/// Every counter with the words before it.
fn lines(stats: &Stats, all: bool) -> Vec<(Vec<String>, CounterRow)> {
    let mut lines = Vec::new();
    for entry in &stats.interfaces {
        for (reason, counter) in &entry.reasons.0 {
            if all || counter.packets > 0 {
                let words = [&entry.interface, entry.attached, reason, ""];
                lines.push((words.map(str::to_owned).to_vec(), *counter));
            }
        }
    }
    for entry in &stats.ingresses {
        let mut line = |verdict: &str, detail: &str, counter: CounterRow| {
            let words = [&entry.ingress, entry.mode, verdict, detail];
            lines.push((words.map(str::to_owned).to_vec(), counter));
        };
        line("accepted", "", entry.accepted);
        for rule in entry.rules.iter().filter(|rule| all || rule.counter.packets > 0) {
            line("", &format!("rule {}", rule.rule), rule.counter);
        }
        line("dropped", "", entry.dropped);
        line("would drop", "", entry.would_drop);
        for (reason, counter) in &entry.reasons.0 {
            if all || counter.packets > 0 {
                line("", reason, *counter);
            }
        }
    }
    lines
}

fn render(
    stats: &Stats,
    lines: &[(Vec<String>, CounterRow)],
    rates: Option<(Duration, &HashMap<Vec<String>, CounterRow>)>,
) -> String {
    let mut header = vec!["WHERE", "MODE", "VERDICT", "BY", "PACKETS", "BYTES"];
    if rates.is_some() {
        header.extend(["PACKETS/S", "BITS/S"]);
    }
    let mut rows = vec![header.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    let mut shown = "";
    for (words, counter) in lines {
        let mut row = words.clone();
        if row[0] == shown {
            row[0].clear();
            row[1].clear();
        }
        shown = &words[0];
        row.extend([text::thousands(counter.packets), text::thousands(counter.bytes)]);
        if let Some((time, before)) = rates {
            let old = before.get(words).copied().unwrap_or_default();
            let per_second = |new: u64, old: u64| {
                let nanoseconds = time.as_nanos().max(1);
                let rate = u128::from(new.saturating_sub(old)) * 1_000_000_000 / nanoseconds;
                text::thousands(u64::try_from(rate).unwrap_or(u64::MAX))
            };
            row.push(per_second(counter.packets, old.packets));
            row.push(per_second(counter.bytes * 8, old.bytes * 8));
        }
        rows.push(row);
    }
    let mut text = format!("generation {}\n\n", stats.generation);
    let counters = iter::once(None).chain(lines.iter().map(Some));
    for (row, line) in text::table(&rows, 4).lines().zip(counters) {
        let row = match line {
            Some((words, counter)) if counter.packets > 0 => match words[2].as_str() {
                "dropped" => text::bad(row),
                "would drop" => text::doubtful(row),
                _ => row.to_owned(),
            },
            _ => row.to_owned(),
        };
        text.push_str(&row);
        text.push('\n');
    }
    text
}
