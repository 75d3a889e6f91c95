//! What `cargo xtask vm test` prints at its end.

use super::{kernel::Kernel, machine::Outcome, verdict::Verdict};

/// Prints everything about a guest that failed.
pub fn failures(kernel: &Kernel, outcome: &Outcome) {
    let verdict = match &outcome.verdict {
        Ok(verdict) if verdict.passed => return,
        Ok(verdict) => verdict,
        Err(error) => {
            println!("\n{}: {error:#}; the end of its console:", kernel.release);
            println!("{}", outcome.last_lines());
            return;
        }
    };
    println!("\n{}: the program ended with {}", kernel.release, verdict.ended);
    let failed: Vec<_> = verdict.checks.iter().filter(|check| !check.passed).collect();
    for check in &failed {
        let error = check.error.as_deref().unwrap_or("it does not say why");
        println!("\n{}, {}:\n{error}", kernel.release, check.name);
    }
    if failed.is_empty() {
        println!("the end of its console:\n{}", outcome.last_lines());
    } else {
        println!("\nall of it is in {}", outcome.console_file.display());
    }
}

/// Prints kernel × check.
pub fn print(kernels: &[Kernel], outcomes: &[Outcome]) {
    let verdicts: Vec<_> = outcomes.iter().map(|outcome| outcome.verdict.as_ref().ok()).collect();
    let mut names: Vec<&str> = Vec::new();
    for verdict in verdicts.iter().flatten() {
        for check in &verdict.checks {
            if !names.contains(&check.name.as_str()) {
                names.push(&check.name);
            }
        }
    }
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let line = |name: &str, cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!("  {cell:>22}")).collect();
        println!("{name:<width$}{cells}");
    };
    println!();
    line("", kernels.iter().map(|kernel| kernel.release.clone()).collect());
    for name in names {
        line(name, verdicts.iter().map(|verdict| cell(*verdict, name)).collect());
    }
    let whole = outcomes.iter().map(|outcome| {
        let word = match &outcome.verdict {
            Ok(verdict) if verdict.passed => "ok",
            Ok(_) => "FAILED",
            Err(_) => "NO VERDICT",
        };
        format!("{word} {:6.1} s", outcome.took.as_secs_f64())
    });
    line("all, with the boot", whole.collect());
    notes(kernels, &verdicts);
}

fn cell(verdict: Option<&Verdict>, name: &str) -> String {
    let check = verdict.and_then(|verdict| verdict.checks.iter().find(|check| check.name == name));
    match check {
        None => "-".to_owned(),
        Some(check) => {
            let word = if check.passed { "ok" } else { "FAILED" };
            format!("{word} {:6.1} s", check.seconds)
        }
    }
}

/// Prints what the checks found out.
fn notes(kernels: &[Kernel], verdicts: &[Option<&Verdict>]) {
    println!();
    for (kernel, verdict) in kernels.iter().zip(verdicts) {
        let Some(verdict) = verdict else { continue };
        for check in &verdict.checks {
            for (name, value) in &check.notes {
                println!("{}: {}: {name}: {value}", kernel.release, check.name);
            }
        }
    }
}
