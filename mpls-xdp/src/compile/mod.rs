//! Compiles a policy into the image that the kernel program reads.

mod directory;
mod page;
mod vlan;

use hashbrown::HashMap;
use mpls_xdp_ebpf::{
    abi::{self, action, header, ingress, interface, profile},
    label_entry::FIRST_ORDINARY,
    policy::{Inner, Mode, Role},
};
use thiserror::Error;

use self::directory::{Directory, Drawing};
use crate::{
    manifest::{InterfaceEntry, Manifest},
    policy::{ContextId, ContextKind, Ingress, LabelSet, Policy},
};

/// Words of the greatest image.
const MAX_WORDS: usize = abi::MOST_WORDS as usize;

/// As long as there are no more pages with a byte a label, pages have it though half of it would do:
/// it is read 0.7 ns faster. Beyond these, 128 KiB, memory counts.
const BYTE_PAGES: u32 = 64;

/// A policy that cannot be compiled.
#[derive(Debug, Error)]
pub enum CompileError {
    /// The tables are larger than a map can be.
    #[error(
        "the compiled policy takes {0} words of 4 bytes, more than the {MAX_WORDS} that a map \
         holds: use ranges in place of scattered labels, or fewer ingresses with labels of their own"
    )]
    TooLarge(usize),
    /// The manifest cannot be written as JSON.
    #[error("cannot describe the policy: {0}")]
    Manifest(#[from] serde_json::Error),
}

/// The words of a generation's image: `policy` with the slots that `manifest` gives it, and the
/// manifest behind the tables.
///
/// # Errors
///
/// When the image would be too large for a map.
pub fn compile(policy: &Policy, manifest: &Manifest) -> Result<Vec<u32>, CompileError> {
    let mut image = ImageBuilder::default();
    *image.header(header::MAGIC) = abi::MAGIC;
    *image.header(header::DEFAULT_MODE) = mode_word(policy.default_mode);
    let mut drawing = Drawing::new();
    for context in policy.contexts.iter().filter(|context| context.pops) {
        drawing.mark(&context.labels, action::EXPOSED);
    }
    let mut directories = HashMap::new();
    let mut records = Vec::with_capacity(policy.ingresses.len());
    for (number, (ingress, entry)) in (0..).zip(policy.ingresses.iter().zip(&manifest.ingresses)) {
        let directory = match ingress.role {
            Role::Customer => Directory::default(),
            Role::Peer | Role::Core => *directories
                .entry((&ingress.contexts, &ingress.labels, ingress.special.bits()))
                .or_insert_with(|| accepted(&mut image, &mut drawing, policy, ingress)),
        };
        let mut record = [0; ingress::LEN as usize];
        record[ingress::PROFILE as usize] = profile_word(ingress);
        record[ingress::REASONS as usize] = entry.reasons;
        record[ingress::NUMBER as usize] = number;
        record[ingress::DIRECTORY as usize..].copy_from_slice(&directory);
        records.push(record);
    }
    let given_out = given_out(&mut image, policy);
    image.header_from(header::GIVEN_OUT).copy_from_slice(&given_out);
    // Apart from the pages: what frames of thousands of ingresses look for fits the cache then.
    for (record, entry) in records.iter_mut().zip(&manifest.ingresses) {
        let slots: Vec<u32> = entry.rules.iter().map(|rule| rule.slot).collect();
        record[ingress::RULES as usize] = image.append(&slots);
    }
    for entry in &manifest.interfaces {
        let bound = policy.ingresses.iter().zip(&records).filter_map(|(ingress, record)| {
            (ingress.interface.as_str() == entry.name).then_some((&ingress.vlans[..], record))
        });
        let root = vlan::root(&mut image, bound);
        let record = image.interface(entry);
        record[interface::NAMED as usize] = u32::from(!entry.detached);
        record[interface::COUNTERS as usize] = entry.counters;
        record[interface::CHILDREN as usize] = root.children;
        record[interface::UNTAGGED as usize..].copy_from_slice(&root.untagged);
    }
    image.finish(manifest)
}

/// The image of a policy that names no interface: every program passes everything.
///
/// # Errors
///
/// Never; the type is that of [`compile`].
pub fn nothing() -> Result<Vec<u32>, CompileError> {
    let mut image = ImageBuilder::default();
    *image.header(header::MAGIC) = abi::MAGIC;
    image.finish(&Manifest::default())
}

/// The image `words` with another manifest, and interfaces that it says are detached not named.
///
/// # Errors
///
/// When the image would be too large for a map.
pub fn amend(words: &[u32], manifest: &Manifest) -> Result<Vec<u32>, CompileError> {
    let tables = (words[(abi::HEADER / 4 + header::MANIFEST) as usize] / 4) as usize;
    let mut image = ImageBuilder::of(words[..tables].to_vec());
    for entry in manifest.interfaces.iter().filter(|entry| entry.detached) {
        image.interface(entry).fill(0);
    }
    image.finish(manifest)
}

const fn mode_word(mode: Mode) -> u32 {
    match mode {
        Mode::Enforce => abi::ENFORCE,
        Mode::Monitor => abi::MONITOR,
    }
}

fn profile_word(ingress: &Ingress) -> u32 {
    let flag = |set: bool, bit: u32| if set { bit } else { 0 };
    flag(ingress.role != Role::Customer, profile::LABELLED)
        | flag(ingress.mode == Mode::Monitor, profile::MONITOR)
        | flag(ingress.inner == Inner::Validate, profile::VALIDATE)
        | ingress.special.bits() << profile::SPECIAL_SHIFT
        | u32::from(ingress.max_depth) << profile::DEPTH_SHIFT
}

/// The directory of what this router gave out. That a label leads into a VRF counts before all else.
fn given_out(image: &mut ImageBuilder, policy: &Policy) -> Directory {
    let mut drawing = Drawing::new();
    let of_kind = |kind| {
        let contexts = policy.contexts.iter().filter(move |context| context.kind == kind);
        contexts.map(|context| &context.labels)
    };
    let own = policy.ingresses.iter().filter_map(|ingress| ingress.labels.as_ref());
    for labels in own.chain(of_kind(ContextKind::Transport)) {
        drawing.lay(labels, abi::GIVEN);
    }
    for labels in of_kind(ContextKind::Vrf) {
        drawing.lay(labels, abi::GIVEN_VRF);
    }
    drawing.write(image)
}

/// The directory of what an ingress accepts: the first rule in the order written has a label, and
/// special-purpose labels have none.
fn accepted(
    image: &mut ImageBuilder,
    drawing: &mut Drawing,
    policy: &Policy,
    ingress: &Ingress,
) -> Directory {
    let contexts =
        ingress.contexts.iter().map(|ContextId(context)| &policy.contexts[*context].labels);
    let rules: Vec<(u32, &LabelSet)> = (1..).zip(contexts.chain(&ingress.labels)).collect();
    for (rule, labels) in rules.into_iter().rev() {
        drawing.lay(labels, rule << action::RULE_SHIFT);
    }
    for label in 0..FIRST_ORDINARY {
        drawing.lay_one(label, ingress.special.action(label));
    }
    drawing.write(image)
}

/// An image in the making.
struct ImageBuilder {
    words: Vec<u32>,
    /// Where equal blocks already stand.
    shared: HashMap<Vec<u32>, u32>,
    /// Words that did not fit.
    beyond: usize,
    /// Pages with a byte a label that may come before half of it has to do.
    byte_pages: u32,
}

impl Default for ImageBuilder {
    fn default() -> Self {
        Self::of(vec![0; abi::FIXED_WORDS as usize])
    }
}

impl ImageBuilder {
    /// An image that begins with `words`.
    fn of(words: Vec<u32>) -> Self {
        Self { words, shared: HashMap::new(), beyond: 0, byte_pages: BYTE_PAGES }
    }

    /// A word of the header.
    fn header(&mut self, field: u32) -> &mut u32 {
        &mut self.header_from(field)[0]
    }

    /// The header's words from one on.
    fn header_from(&mut self, field: u32) -> &mut [u32] {
        let header = abi::HEADER / 4;
        &mut self.words[(header + field) as usize..(header + header::LEN) as usize]
    }

    /// The record of an interface.
    fn interface(&mut self, entry: &InterfaceEntry) -> &mut [u32] {
        let start = (abi::INTERFACES / 4 + entry.slot * interface::LEN) as usize;
        &mut self.words[start..start + interface::LEN as usize]
    }

    /// Puts a block of words behind the others and returns its place.
    fn append(&mut self, block: &[u32]) -> u32 {
        if self.words.len() + block.len() > MAX_WORDS {
            self.beyond += block.len();
            return 0;
        }
        let place = to_place(self.words.len());
        self.words.extend_from_slice(block);
        place
    }

    /// The place of a block that may serve several directories, with bits to spare for the form of
    /// a page.
    fn share(&mut self, block: Vec<u32>) -> u32 {
        const ALIGNMENT: usize = 1 << abi::directory::FORM_BITS;
        if let Some(place) = self.shared.get(&block) {
            return *place;
        }
        self.words.resize(self.words.len().next_multiple_of(ALIGNMENT / 4), 0);
        let place = self.append(&block);
        self.shared.insert(block, place);
        place
    }

    fn finish(mut self, manifest: &Manifest) -> Result<Vec<u32>, CompileError> {
        let bytes = serde_json::to_vec(manifest)?;
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of the number")]
        let [low, high] = [manifest.generation as u32, (manifest.generation >> 32) as u32];
        *self.header(header::GENERATION) = low;
        *self.header(header::GENERATION + 1) = high;
        *self.header(header::MANIFEST) = to_place(self.words.len());
        *self.header(header::MANIFEST_LEN) = to_word(bytes.len());
        self.words.extend(bytes.chunks(4).map(|chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            u32::from_le_bytes(word)
        }));
        if self.beyond > 0 || self.words.len() > MAX_WORDS {
            return Err(CompileError::TooLarge(self.words.len() + self.beyond));
        }
        Ok(self.words)
    }
}

/// The place of a word that has so many in front of it.
fn to_place(words: usize) -> u32 {
    to_word(words * 4)
}

/// A number as a word of the image; none is greater than the bytes of [`MAX_WORDS`].
fn to_word(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
