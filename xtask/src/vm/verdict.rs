//! What a guest says of itself.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// The one object that a guest writes before it powers off.
#[derive(Debug, Deserialize)]
pub struct Verdict {
    /// What the kernel calls itself.
    pub kernel: String,
    /// Whether the program ended well, all its checks included.
    pub passed: bool,
    /// How the program ended.
    pub ended: String,
    /// The program's checks, if it has any.
    pub checks: Vec<Check>,
    /// What the program measured, if that is what it is for.
    pub results: Option<serde_json::Value>,
}

/// A check in the guest.
#[derive(Debug, Deserialize)]
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
    pub notes: BTreeMap<String, serde_json::Value>,
}

impl Verdict {
    /// Reads what came over the port for it.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).context("the guest left no verdict")?;
        ensure!(!text.trim().is_empty(), "the guest ended without a verdict");
        serde_json::from_str(&text).with_context(|| format!("the guest's verdict is cut: {text}"))
    }
}
