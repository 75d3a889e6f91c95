//! A frame about which judges disagree, so that a person can run it again.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use tempfile::Builder;

use crate::capture_file;

/// A longer policy is shown by its file only.
const SHOWN: usize = 20_000;

/// Writes policy and frame to files in a new folder below `folder`, and returns the text to show:
/// both as they are, and two ways to hand them to `mpls-xdp replay`.
///
/// # Errors
///
/// When the files cannot be written.
pub fn keep(folder: &Path, policy: &str, interface: &str, frame: &[u8]) -> Result<String> {
    let kept = Builder::new().prefix("counterexample-").tempdir_in(folder);
    let kept = kept.with_context(|| format!("a folder in {}", folder.display()))?.keep();
    let (policy_file, capture) = (kept.join("policy.toml"), kept.join("frame.pcap"));
    fs::write(&policy_file, policy).with_context(|| policy_file.display().to_string())?;
    capture_file::write(&capture, [frame])?;
    let shown = if policy.len() > SHOWN {
        format!("policy of {} bytes: see the file\n", policy.len())
    } else {
        format!("policy:\n{policy}\n")
    };
    let pasted = if policy.len() > SHOWN {
        String::new()
    } else {
        format!("To run it again, paste this into bash:\n{}\n", paste(policy, interface, frame)?)
    };
    Ok(format!(
        "interface {interface}, frame of {} bytes: {}\n{shown}{pasted}\
         To run it again from the files:\nmpls-xdp replay {} --interface '{interface}' {}\n",
        frame.len(),
        hex(frame),
        policy_file.display(),
        capture.display(),
    ))
}

/// One command for bash that replays the frame under the policy, with no file.
///
/// # Errors
///
/// For a frame of 4 GiB.
pub fn paste(policy: &str, interface: &str, frame: &[u8]) -> Result<String> {
    let mut capture = Vec::new();
    capture_file::write_to(&mut capture, [frame])?;
    let mut escaped = String::new();
    for byte in capture {
        write!(escaped, "\\x{byte:02x}")?;
    }
    Ok(format!(
        "mpls-xdp replay --json --interface '{interface}' <(cat <<'END-OF-POLICY'\n{}\n\
         END-OF-POLICY\n) <(printf '{escaped}')",
        policy.trim_end()
    ))
}

/// The bytes as one hexadecimal number.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
