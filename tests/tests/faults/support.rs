//! What the tests have in common.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// How long to wait for what takes milliseconds.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How often to look.
pub const INTERVAL: Duration = Duration::from_millis(1);

/// Waits until something is so.
pub fn wait_for(what: &str, is_so: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().with_context(|| format!("waiting until {what}"))? {
        ensure!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(INTERVAL);
    }
    Ok(())
}

/// The number of frames in a row of counters; a row that is not there has none.
pub fn packets(row: &Value) -> u64 {
    row["packets"].as_u64().unwrap_or_default()
}
