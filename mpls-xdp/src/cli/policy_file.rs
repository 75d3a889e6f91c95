//! Reads a policy file and shows everything that is wrong with it.

use std::{fs, io::stderr, path::Path};

use anstream::{AutoStream, ColorChoice};
use anyhow::{Context as _, Result};
use mpls_xdp::{
    policy::{self, Diagnostic, LiveFacts, Parsed, Policy},
    router::Links,
};
use thiserror::Error;

use super::progress;

/// The policy has errors, which have been shown.
#[derive(Debug, Error)]
#[error("the policy is invalid")]
pub(super) struct InvalidPolicy;

/// A policy file and what was found in it.
pub(super) struct PolicyFile {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) parsed: Parsed,
}

impl PolicyFile {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        progress::during(&format!("reading {name}"), |_| {
            let bytes = fs::read(path).with_context(|| format!("cannot read {name}"))?;
            let text =
                String::from_utf8(bytes).with_context(|| format!("{name} is not text in UTF-8"))?;
            let parsed = policy::parse(&name, &text);
            Ok((text, parsed))
        })
        .map(|(text, parsed)| Self { name, text, parsed })
    }

    /// Adds what this router says about the interfaces.
    pub(super) fn compare(&mut self, links: &Links) {
        for diagnostic in policy::check_live(&self.parsed, &Router(links)) {
            match diagnostic.severity {
                policy::Severity::Error => self.parsed.errors.push(diagnostic),
                policy::Severity::Warning => self.parsed.warnings.push(diagnostic),
            }
        }
    }

    /// The policy, its warnings shown; or its errors shown.
    pub(super) fn valid(&self) -> Result<&Policy, InvalidPolicy> {
        for diagnostic in self.parsed.errors.iter().chain(&self.parsed.warnings) {
            self.show(diagnostic);
        }
        match (&self.parsed.policy, self.parsed.errors.len()) {
            (Some(policy), 0) => Ok(policy),
            (_, errors) => {
                let errors =
                    if errors == 1 { "one error".to_owned() } else { format!("{errors} errors") };
                eprintln!("{}: {errors}; nothing was changed", self.name);
                Err(InvalidPolicy)
            }
        }
    }

    fn show(&self, diagnostic: &Diagnostic) {
        let color = AutoStream::choice(&stderr()) != ColorChoice::Never;
        eprintln!("{}\n", diagnostic.render(&self.text, color));
    }
}

struct Router<'a>(&'a Links);

impl LiveFacts for Router<'_> {
    fn exists(&self, name: &str) -> bool {
        self.0.by_name(name).is_some()
    }

    fn vlan_device(&self, name: &str) -> Option<(String, u16)> {
        let vlan = self.0.by_name(name)?.vlan.as_ref()?;
        let parent = vlan.parent.and_then(|index| self.0.by_index(index));
        Some((parent.map_or_else(|| "its parent".to_owned(), |link| link.name.clone()), vlan.vid))
    }
}
