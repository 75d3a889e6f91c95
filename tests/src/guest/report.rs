//! Checks by name and how they went.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where the first process looks for it.
const FILE: &str = "/run/report.json";

/// What a check found out, beside whether all is well.
#[derive(Debug, Default)]
pub struct Notes(BTreeMap<String, Value>);

/// How a check went.
#[derive(Debug, Deserialize, Serialize)]
pub struct Check {
    /// What was looked at, a sentence.
    pub name: String,
    /// Whether it was so.
    pub passed: bool,
    /// What was wrong.
    pub error: Option<String>,
    /// How long it took.
    pub seconds: f64,
    /// What was found out.
    pub notes: BTreeMap<String, Value>,
}

/// All checks of a program.
#[derive(Debug, Default)]
pub struct Report {
    /// Texts, one of which must be in a check's name for it to be carried out; none for all.
    only: Vec<String>,
    checks: Vec<Check>,
}

/// A report as the program left it.
#[derive(Debug, Deserialize, Serialize)]
pub struct Written {
    /// The checks that came to an end.
    pub checks: Vec<Check>,
    /// Whether these are all.
    pub complete: bool,
}

impl Notes {
    /// Notes something.
    pub fn add(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.0.insert(name.into(), value.into());
    }
}

impl Report {
    /// Of those checks only that have one of these texts in their names; of all without any.
    #[must_use]
    pub fn of(only: Vec<String>) -> Self {
        Self { only, checks: Vec::new() }
    }

    /// Carries a check out, tells of it on the console and keeps how it went. Whatever goes wrong
    /// in it, the next one is carried out.
    ///
    /// # Errors
    ///
    /// When the report cannot be written.
    pub fn check(
        &mut self,
        name: impl Into<String>,
        check: impl FnOnce(&mut Notes) -> Result<()>,
    ) -> Result<()> {
        let name = name.into();
        if !self.only.is_empty() && !self.only.iter().any(|text| name.contains(text)) {
            return Ok(());
        }
        println!("start   {name}");
        let (started, mut notes) = (Instant::now(), Notes::default());
        let outcome = catch_unwind(AssertUnwindSafe(|| check(&mut notes)));
        let outcome = outcome.unwrap_or_else(|panic| Err(message(panic.as_ref())));
        let seconds = started.elapsed().as_secs_f64();
        let error = outcome.err().map(|error| format!("{error:#}"));
        match &error {
            None => println!("ok      {name} ({seconds:.1} s)"),
            Some(error) => println!("FAILED  {name} ({seconds:.1} s)\n{error}"),
        }
        let passed = error.is_none();
        self.checks.push(Check { name, passed, error, seconds, notes: notes.0 });
        self.write(false)
    }

    /// Ends the report.
    ///
    /// # Errors
    ///
    /// When a check failed, when there is none, or when the report cannot be written.
    pub fn finish(mut self) -> Result<()> {
        self.write(true)?;
        let failed = self.checks.iter().filter(|check| !check.passed).count();
        ensure!(failed == 0, "{failed} of {} checks failed", self.checks.len());
        ensure!(!self.checks.is_empty(), "nothing was checked");
        Ok(())
    }

    /// What the program wrote.
    ///
    /// # Errors
    ///
    /// When it wrote nothing that can be read.
    pub fn written() -> Result<Written> {
        let text = fs::read(FILE).with_context(|| format!("reading {FILE}"))?;
        serde_json::from_slice(&text).context("reading the report")
    }

    fn write(&mut self, complete: bool) -> Result<()> {
        let written = Written { checks: std::mem::take(&mut self.checks), complete };
        let text = serde_json::to_vec(&written)?;
        self.checks = written.checks;
        fs::write(FILE, text).with_context(|| format!("writing {FILE}"))
    }
}

impl Default for Written {
    /// That of a program that has no checks by name.
    fn default() -> Self {
        Self { checks: Vec::new(), complete: true }
    }
}

fn message(panic: &(dyn Any + Send)) -> anyhow::Error {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    anyhow!("it panicked: {}", text.unwrap_or("with something that is no text"))
}
