//! Puts a policy in force in one step.
//!
//! Maps first, programs next, then one word is switched, and what is not needed any more goes.
//! Until that word is switched every program decides by the old policy; a program on an interface
//! that the policy in force does not name passes everything.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use aya::programs::XdpMode;
use serde::{Deserialize, Serialize};

use super::{
    FilterError, Session,
    active::{Active, settled},
    hotplug, offload,
    rollout::now,
};
use crate::{
    compile,
    kernel::{
        CounterMap, Counters, FilterProgram, KernelError, PinnedProgram, PolicyMap, ProgramLoader,
        Settings,
    },
    manifest::{InterfaceEntry, Manifest},
    policy::Policy,
    router::{self, Links, RouterError, Uncovered, VlanOffload, XdpAttachMode},
    sampling::is_sampling,
};

/// How programs are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttachMode {
    /// In the driver.
    Native,
    /// In the network stack, for drivers without XDP.
    Generic,
}

impl From<AttachMode> for XdpMode {
    fn from(mode: AttachMode) -> Self {
        match mode {
            AttachMode::Native => Self::Driver,
            AttachMode::Generic => Self::Skb,
        }
    }
}

impl From<AttachMode> for XdpAttachMode {
    fn from(mode: AttachMode) -> Self {
        match mode {
            AttachMode::Native => Self::Native,
            AttachMode::Generic => Self::Generic,
        }
    }
}

/// How to apply a policy.
#[derive(Debug, Clone, Copy)]
pub struct ApplyOptions {
    /// Mode for interfaces that have no program yet.
    pub mode: AttachMode,
    /// Take other XDP programs off.
    pub replace: bool,
    /// Attach the program that takes frames in fragments, also where the MTU does not need it yet.
    pub fragments: bool,
}

/// Which file a policy comes from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The file's name as it was given.
    pub name: &'a str,
    /// SHA-256 of the file, in hexadecimal.
    pub digest: &'a str,
    /// The history's entry for it; 0 for a policy that the history does not keep.
    pub entry: u64,
}

/// What applying a policy changes; nothing has been changed yet.
#[derive(Debug)]
pub struct Plan {
    /// Number that the generation gets.
    pub generation: u64,
    /// Interfaces that get a program.
    pub attach: Vec<String>,
    /// Interfaces that have one and keep it.
    pub keep: Vec<String>,
    /// Those of them that are filtered in another mode than was asked for, and stay so: a mode
    /// cannot be changed without a gap.
    pub other_mode: Vec<String>,
    /// Interfaces that lose theirs.
    pub leave: Vec<String>,
    /// Interfaces whose other program is taken off.
    pub replace: Vec<String>,
    /// Offloads that are turned off.
    pub offloads: Vec<(String, VlanOffload)>,
    /// Interfaces on which the kernel accepts MPLS and that no ingress covers.
    pub uncovered: Vec<Uncovered>,
    manifest: Manifest,
    image: Vec<u32>,
    links: Links,
    before: Option<Active>,
    programs: Vec<PinnedProgram>,
    stale: Vec<PinnedProgram>,
    /// Whether programs must be loaded anew: they are those of another object, or a command died
    /// while it moved them to another map, or a pin that they share is gone, or they need more
    /// counters.
    reload: bool,
    /// Whether all counters start anew: a pin of theirs is gone, or nobody knows their names.
    count_anew: bool,
}

impl Plan {
    /// Whether all counters start anew.
    pub(super) fn counts_anew(&self) -> bool {
        self.count_anew
    }

    /// The interfaces whose drivers see the frames of those called `names`.
    fn receivers(&self, names: &[String]) -> HashSet<String> {
        names
            .iter()
            .filter_map(|name| self.links.by_name(name))
            .flat_map(|link| offload::receivers(&self.links, link))
            .map(|link| link.name.clone())
            .collect()
    }
}

/// Words by which a manifest grows at most when its generation number gets all its 20 digits.
const AMENDED_WORDS: usize = 8;

/// Works out what applying a policy changes.
///
/// # Errors
///
/// When the policy cannot be applied here.
pub fn plan(
    session: &Session,
    policy: &Policy,
    origin: Origin<'_>,
    options: ApplyOptions,
) -> Result<Plan, FilterError> {
    let before = Active::find(&session.pins)?;
    let named: HashSet<&str> =
        policy.ingresses.iter().map(|ingress| ingress.interface.as_str()).collect();
    let (links, programs, stale) = settled(&session.pins, &named)?;

    let mut attached = HashMap::new();
    let mut taken = HashSet::new();
    let mut leave = Vec::new();
    for program in &programs {
        let name = links.by_index(program.ifindex).map(|link| link.name.as_str());
        match name.filter(|name| named.contains(name)) {
            Some(name) => {
                attached.insert(name.to_owned(), program.slot);
            }
            None => {
                taken.insert(program.slot);
                leave.extend(name.map(str::to_owned));
            }
        }
    }
    taken.extend(stale.iter().map(|program| program.slot));

    let nothing = Manifest::default();
    let old = before.as_ref().map_or(&nothing, |active| &active.manifest);
    let is_pinned = |slots: &u32| session.pins.counters(*slots).exists();
    let count_anew = before.is_none() || !old.counter_maps.iter().all(is_pinned);
    let (names, counters, counter_maps) = match count_anew {
        true => (&nothing, Counters::default(), Vec::new()),
        false => (old, Counters::read(&session.pins)?, CounterMap::all(&session.pins)?),
    };
    let mut manifest =
        Manifest::assign(policy, names, &attached, &taken, |slot| counters.get(slot))?;
    manifest.counter_maps = CounterMap::with_slots(counter_maps, manifest.counter_end());
    manifest.generation = old.generation + 1;
    manifest.policy = origin.name.to_owned();
    manifest.digest = origin.digest.to_owned();
    manifest.entry = origin.entry;
    manifest.object = FilterProgram::object_digest().to_owned();
    manifest.applied_at = now();
    let image = compile::compile(policy, &manifest)?;

    let mut plan = Plan {
        generation: manifest.generation,
        attach: Vec::new(),
        keep: Vec::new(),
        other_mode: Vec::new(),
        leave,
        replace: Vec::new(),
        offloads: Vec::new(),
        uncovered: uncovered(&links, &manifest)?,
        reload: count_anew
            || options.fragments
            || old.object != manifest.object
            || old.counter_maps != manifest.counter_maps
            || session.pins.numbered("policy-")?.len() > 1
            || !FilterProgram::maps_are_pinned(&session.pins),
        count_anew,
        manifest,
        image,
        before,
        programs,
        stale,
        links,
    };
    for entry in &plan.manifest.interfaces {
        let name = entry.name.clone();
        let Some(link) = plan.links.by_name(&name) else {
            continue;
        };
        plan.offloads.extend(offload::on_now(&plan.links, link)?);
        if attached.contains_key(&name) {
            let mode = link.xdp.as_ref().map(|xdp| xdp.mode);
            if mode.is_some_and(|mode| mode != options.mode.into()) {
                plan.other_mode.push(name.clone());
            }
            plan.keep.push(name);
            continue;
        }
        if let Some(xdp) = &link.xdp {
            if !options.replace {
                let id = format!(" (id {})", xdp.program_id);
                return Err(KernelError::ForeignProgram { interface: name, id }.into());
            }
            plan.replace.push(name.clone());
        }
        plan.attach.push(name);
    }
    Ok(plan)
}

/// The interfaces on which the kernel accepts MPLS and that no ingress of `manifest` covers.
pub(super) fn uncovered(links: &Links, manifest: &Manifest) -> Result<Vec<Uncovered>, RouterError> {
    let bindings: Vec<(String, Vec<u16>)> = manifest
        .ingresses
        .iter()
        .map(|ingress| (ingress.interface.clone(), ingress.vlan.clone()))
        .collect();
    Ok(router::uncovered(links, &router::mpls_inputs()?, &bindings))
}

/// Carries a plan out. When it fails, or dies, before the last switch, the old policy stays.
///
/// # Errors
///
/// When the kernel refuses a step.
pub fn apply(session: &Session, plan: &Plan, options: ApplyOptions) -> Result<(), FilterError> {
    session.pins.create()?;
    hotplug::announce(session, &plan.manifest)?;
    let mut attached = Vec::new();
    let result = switch(session, plan, options, &mut attached);
    if result.is_err() {
        // What was attached does nothing yet; without it all is as it was.
        for path in attached {
            session.pins.remove(&path)?;
        }
        if plan.before.is_none() {
            session.pins.clear()?;
        }
        let before = plan.before.as_ref().map(|active| active.manifest.clone());
        hotplug::withdraw(session, &before.unwrap_or_default())?;
        let kept = plan.receivers(&plan.keep);
        let mut not_filtered: HashSet<String> =
            plan.offloads.iter().map(|(interface, _)| interface.clone()).collect();
        not_filtered.retain(|name| !kept.contains(name));
        offload::restore(&session.state, &plan.links, not_filtered)?;
        return result;
    }
    tidy_up(session, plan)?;
    let is_absent = |entry: &InterfaceEntry| plan.links.by_name(&entry.name).is_none();
    if plan.manifest.interfaces.iter().any(is_absent) {
        // What appeared since the plan was made came too early for the udev rule.
        for interface in hotplug::reattach(session, options.mode)? {
            interface.result?;
        }
    }
    Ok(())
}

fn switch(
    session: &Session,
    plan: &Plan,
    options: ApplyOptions,
    attached: &mut Vec<PathBuf>,
) -> Result<(), FilterError> {
    let pins = &session.pins;
    offload::turn_off(&session.state, &plan.offloads)?;

    let old = plan.before.as_ref().map(|active| &active.map);
    // `detach` writes the manifest anew in the same map, with a longer generation number.
    let needed = u32::try_from(plan.image.len() + AMENDED_WORDS).unwrap_or(u32::MAX);
    let fits = |map: &&PolicyMap| needed <= map.capacity() && map.capacity() / 4 <= needed;
    let moved = match old.filter(fits) {
        Some(_) => None,
        None => Some(moved(old, roomy(needed))?),
    };
    let Some(policy) = moved.as_ref().or(old) else {
        return Err(FilterError::NoPolicy);
    };

    if plan.count_anew {
        Counters::forget(pins)?;
    }
    let counters = &CounterMap::pinned_for(pins, plan.manifest.counter_end())?;
    let mut loader = None;
    let mut load = |slot, fragments| {
        let loader = loader.get_or_insert_with(|| ProgramLoader::new(Some(pins)));
        loader.load(Settings { slot, policy, counters, fragments, tracing: false })
    };
    if let Some(map) = &moved {
        map.pin(pins)?;
    }

    if moved.is_some() || plan.reload {
        // Those that leave do so after the switch, and must follow the same map until then.
        for program in &plan.programs {
            fitting(options.fragments, |fragments| {
                Ok(program.replace(&mut load(program.slot, fragments)?)?)
            })?;
        }
    }
    for entry in &plan.manifest.interfaces {
        let Some(link) = plan.links.by_name(&entry.name) else {
            continue;
        };
        if plan.programs.iter().any(|program| program.ifindex == link.index) {
            continue;
        }
        let mut foreign = link.xdp.as_ref();
        let pin = fitting(options.fragments, |fragments| {
            let mut program = load(entry.slot, fragments)?;
            if let Some(xdp) = foreign.take() {
                router::detach_foreign(link.index, xdp.mode)?;
            }
            let interface = (entry.name.as_str(), link.index);
            let mode = options.mode.into();
            Ok(PinnedProgram::attach(&mut program, pins, entry.slot, interface, mode)?)
        })?;
        attached.push(pin);
    }
    if !FilterProgram::maps_are_pinned(pins) {
        // Programs make what they share and is not there, and none was loaded: this one stays
        // unattached. Its slot is one that exists: early Linux 6.1 refuses a program that was cut
        // down to "no such interface".
        load(0, false)?;
    }
    if policy.is_sampled() && !is_sampling(&session.state)? {
        // It was killed. Drops need not look for its buckets any more.
        policy.set_sampled(false);
    }
    Ok(policy.activate(&plan.image, pins)?)
}

/// Words for a policy that takes `needed`: it may grow by a quarter before its programs must be
/// loaded anew, but not past a power of two: behind it the mask of places has one bit more, and the
/// map much more room.
fn roomy(needed: u32) -> u32 {
    (needed + needed / 4).min(needed.next_power_of_two()).next_multiple_of(1024)
}

/// A map for images of `words` that holds the old policy, or none that names an interface.
fn moved(old: Option<&PolicyMap>, words: u32) -> Result<PolicyMap, FilterError> {
    let Some(old) = old else {
        return Ok(PolicyMap::create(&compile::nothing()?, words)?);
    };
    let map = PolicyMap::create(&old.image()?, words)?;
    map.set_sampled(old.is_sampled());
    Ok(map)
}

/// Puts the program for frames in one piece, unless `fragments` are asked for, and where the driver
/// refuses that for its MTU, the one that takes fragments.
pub(super) fn fitting<T>(
    fragments: bool,
    mut put: impl FnMut(bool) -> Result<T, FilterError>,
) -> Result<T, FilterError> {
    match put(fragments) {
        Err(FilterError::Kernel(error)) if !fragments && error.may_be_the_mtu() => put(true),
        result => result,
    }
}

/// Removes what the policy in force does not use.
fn tidy_up(session: &Session, plan: &Plan) -> Result<(), FilterError> {
    let pins = &session.pins;
    let leaving = plan.programs.iter().filter(|program| {
        plan.links.by_index(program.ifindex).is_some_and(|link| plan.leave.contains(&link.name))
    });
    for program in leaving.chain(&plan.stale) {
        pins.remove(&program.path)?;
    }
    let active = Active::policy(pins)?;
    for (path, _) in pins.numbered("policy-")? {
        if path != active.policy_pin {
            pins.remove(&path)?;
        }
    }
    hotplug::withdraw(session, &plan.manifest)?;
    offload::restore(&session.state, &plan.links, plan.receivers(&plan.leave)).map(drop)
}

/// Switches to an image made from the active one; `change` gets its names.
pub(super) fn amend(
    session: &Session,
    active: &Active,
    change: impl FnOnce(&mut Manifest),
) -> Result<(), FilterError> {
    let mut manifest = active.manifest.clone();
    manifest.generation += 1;
    change(&mut manifest);
    let image = compile::amend(&active.map.image()?, &manifest)?;
    Ok(active.map.activate(&image, &session.pins)?)
}
