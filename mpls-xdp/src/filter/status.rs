//! Whether the policy in force is really in force.

use std::path::Path;

use serde::Serialize;

use super::{
    FilterError, Session,
    active::{Active, live_programs},
    apply::uncovered,
    offload,
    rollout::{self, Confirmation},
};
use crate::{
    kernel::{FilterProgram, Pins},
    router::{Links, Uncovered},
};

/// The state of the filter in this network namespace.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Version of these fields.
    pub schema: u32,
    /// Generation of the policy in force.
    pub generation: u64,
    /// The policy file's name as it was given.
    pub policy: String,
    /// SHA-256 of the policy file.
    pub digest: String,
    /// SHA-256 of the kernel object that the programs were loaded from, in hexadecimal.
    pub object: String,
    /// When it was applied, in seconds since 1970.
    pub applied_at: u64,
    /// Ingresses of the policy.
    pub ingresses: usize,
    /// Id of the map that holds the policy.
    pub policy_map_id: u32,
    /// Bytes of that map.
    pub policy_map_bytes: u64,
    /// Every interface that the policy names.
    pub interfaces: Vec<InterfaceStatus>,
    /// Interfaces on which the kernel accepts MPLS and that no ingress covers.
    pub uncovered: Vec<Uncovered>,
    /// The confirmation that the policy awaits.
    pub confirmation: Option<Confirmation>,
    /// What is wrong; empty when all is well.
    pub problems: Vec<String>,
}

/// The state of an interface.
#[derive(Debug, Serialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub interface: String,
    /// `native`, `generic`, `offloaded` or `none`.
    pub attached: &'static str,
    /// Id of the filter's program on it.
    pub program_id: Option<u32>,
}

/// Looks at every interface that the policy names.
///
/// # Errors
///
/// When no policy is applied, or the kernel cannot be asked.
pub fn read_status(session: &Session) -> Result<Status, FilterError> {
    status_of(&session.pins, &session.state)
}

/// The same without the session: whoever asks makes sure that nothing changed meanwhile.
pub(super) fn status_of(pins: &Pins, state: &Path) -> Result<Status, FilterError> {
    let active = Active::policy(pins)?;
    let manifest = &active.manifest;
    let links = Links::read()?;
    let (programs, _) = live_programs(pins, &links)?;
    let mut problems = Vec::new();
    let mut interfaces = Vec::new();
    for entry in &manifest.interfaces {
        let name = &entry.name;
        let link = links.by_name(name);
        let program = link.and_then(|link| {
            programs.iter().find(|p| p.ifindex == link.index && p.slot == entry.slot)
        });
        let xdp = link.and_then(|link| link.xdp.as_ref()).filter(|_| program.is_some());
        interfaces.push(InterfaceStatus {
            interface: name.clone(),
            attached: xdp.map_or("none", |xdp| xdp.mode.name()),
            program_id: program.map(|program| program.program_id),
        });
        let not_filtered = match (link, program) {
            (None, _) => Some("it does not exist; apply the policy again when it does"),
            (Some(_), None) if entry.detached => {
                Some("it was taken off with `detach --interface`; `apply` puts it back")
            }
            (Some(link), None) if link.xdp.is_some() => {
                Some("another XDP program is on it; `apply --replace` takes that off")
            }
            (Some(_), None) => Some("its program or pin is gone; apply the policy again"),
            (Some(_), Some(_)) => None,
        };
        if let Some(why) = not_filtered {
            problems.push(format!("{name} is not filtered: {why}"));
        }
        if let (Some(link), Some(_)) = (link, program) {
            for (receiver, offload) in offload::on_now(&links, link)? {
                problems.push(format!(
                    "{receiver}: {} is on again and strips tags before the filter sees them; \
                     apply the policy again",
                    offload.name()
                ));
            }
        }
    }
    let counters = manifest.counter_maps.iter().map(|slots| pins.counters(*slots));
    for pin in counters.chain(FilterProgram::pins(pins)) {
        if !pin.exists() {
            problems.push(format!("the pin {} is missing; apply the policy again", pin.display()));
        }
    }
    if manifest.object != FilterProgram::object_digest() {
        problems.push(
            "the programs are those of another build of mpls-xdp; apply the policy again to \
             replace them without a gap"
                .to_owned(),
        );
    }
    let confirmation = match rollout::read_confirmation(state, manifest) {
        Ok(confirmation) => confirmation,
        Err(error) => {
            problems.push(error.to_string());
            None
        }
    };
    problems.extend(confirmation.as_ref().and_then(no_return));
    Ok(Status {
        schema: 1,
        generation: manifest.generation,
        policy: manifest.policy.clone(),
        digest: manifest.digest.clone(),
        object: manifest.object.clone(),
        applied_at: manifest.applied_at,
        ingresses: manifest.ingresses.len(),
        policy_map_id: active.map.id(),
        policy_map_bytes: active.map.bytes().into(),
        interfaces,
        uncovered: uncovered(&links, manifest)?,
        confirmation,
        problems,
    })
}

/// Why the policy before does not come back by itself though no confirmation has come.
fn no_return(confirmation: &Confirmation) -> Option<String> {
    let Confirmation { policy, seconds_left, watched, failure, .. } = confirmation;
    let when = match seconds_left {
        0.. => format!("{policy} must be confirmed within {seconds_left} s"),
        _ => format!("the confirmation of {policy} is {} s overdue", -seconds_left),
    };
    let why = match (watched, failure, seconds_left) {
        (true, Some(failure), _) => format!("going back has failed, and is tried again: {failure}"),
        (true, None, _) => return None,
        (false, _, _) => "the process that would go back was killed".to_owned(),
    };
    Some(format!(
        "{when}, and {why}; `mpls-xdp confirm` keeps the policy, `mpls-xdp rollback` goes back now"
    ))
}
