//! Policies of any size.

use std::fmt::{self, Write as _};
use std::ops::Range;

use super::programs::Choice;

/// The interface that they name.
pub const INTERFACE: &str = "filtered";
/// All labels that can be given out.
pub const ALL_LABELS: u32 = 1_048_560;
/// The first of them.
const FIRST: u32 = 16;
/// Contexts of a policy with interleaved labels.
const CONTEXTS: u32 = 16;
/// VLAN IDs that can be bound.
const VLANS: u32 = 4_094;

/// How the labels of a policy lie.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shape {
    /// In four ranges, one a context.
    Ranges,
    /// One by one, as far apart as they can be, in one context.
    Scattered,
    /// One by one, next to each other, each in another context than its neighbours.
    Interleaved,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ranges => "ranges",
            Self::Scattered => "scattered",
            Self::Interleaved => "interleaved",
        })
    }
}

/// How a policy differs from another of its size and shape.
#[derive(Clone, Copy, Debug)]
pub enum Variant {
    /// Not at all.
    Plain,
    /// Its last label is missing.
    OneLabelLess,
    /// Every label is in the next context.
    Rotated,
}

/// Labels, all accepted on the one ingress.
#[derive(Clone, Copy, Debug)]
pub struct Labels {
    pub count: u32,
    pub shape: Shape,
}

impl Labels {
    /// Any of the labels.
    pub fn choice(self) -> Choice {
        let step = if self.shape == Shape::Scattered { ALL_LABELS / self.count } else { 1 };
        let jitter = 1 << step.ilog2();
        Choice { first: FIRST, step, jitter, flip: 0, labels: self.count, vlans: 0 }
    }

    /// The labels.
    pub fn iter(self) -> impl ExactSizeIterator<Item = u32> {
        let choice = self.choice();
        (0..self.count as usize).map(move |at| choice.label(u32::try_from(at).unwrap_or(u32::MAX)))
    }

    /// The label in the middle.
    pub fn hot(self) -> u32 {
        self.choice().label(self.count / 2)
    }

    /// How many rules accept a label.
    pub fn rules(self) -> u32 {
        match self.shape {
            Shape::Ranges => self.count.min(4),
            Shape::Scattered => 1,
            Shape::Interleaved => CONTEXTS,
        }
    }

    /// The policy's text.
    pub fn policy(self, variant: Variant) -> String {
        let count = match variant {
            Variant::OneLabelLess => self.count - 1,
            Variant::Plain | Variant::Rotated => self.count,
        };
        let contexts = self.rules();
        let turn = u32::from(matches!(variant, Variant::Rotated));
        let mut text = String::from("version = 1\n");
        let mut names = Vec::new();
        for number in 0..contexts {
            let name = format!("context-{}", (number + turn) % contexts);
            let _ = write!(text, "contexts.{name} = {{ kind = \"transport\", labels = [");
            match self.shape {
                Shape::Ranges => {
                    let range = |number| FIRST + self.count / contexts * number;
                    let end =
                        if number + 1 == contexts { FIRST + count } else { range(number + 1) };
                    if range(number) < end {
                        let _ = write!(text, "\"{}-{}\"", range(number), end - 1);
                    }
                }
                Shape::Scattered => singles(&mut text, self.choice(), 0..count),
                Shape::Interleaved => {
                    let own = (0..count).filter(|at| context_of(*at) == number);
                    singles(&mut text, self.choice(), own);
                }
            }
            text.push_str("] }\n");
            names.push(name);
        }
        names.sort();
        let _ = writeln!(
            text,
            "ingress.core = {{ interface = \"{INTERFACE}\", role = \"core\", contexts = {names:?} }}"
        );
        text
    }
}

/// The context of an interleaved label: no two pages of labels are alike.
const fn context_of(number: u32) -> u32 {
    number.wrapping_mul(0x9e37_79b1) / (u32::MAX / CONTEXTS + 1)
}

fn singles(text: &mut String, choice: Choice, numbers: impl Iterator<Item = u32>) {
    for number in numbers {
        let _ = write!(text, "{},", choice.label(number));
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.count == 1 { "label" } else { "labels" };
        write!(f, "{} {noun}, {}", thousands(self.count), self.shape)
    }
}

/// Ingresses on one interface, each with 8,000 labels in common and 16 of its own.
#[derive(Clone, Copy, Debug)]
pub struct Ingresses(pub u32);

impl Ingresses {
    const COMMON: Range<u32> = 16_000..24_000;
    const OWN: u32 = 16;

    /// Any of the VLANs, and any of the common labels.
    pub fn choice(self) -> Choice {
        Choice {
            first: Self::COMMON.start,
            step: 1,
            jitter: 1,
            flip: 0,
            labels: Self::COMMON.end - Self::COMMON.start,
            vlans: self.0.min(VLANS),
        }
    }

    /// A label that all of them accept.
    pub const HOT: u32 = 20_000;
    /// The tag of one of them.
    pub const VLAN: u16 = 1;

    /// The policy's text.
    pub fn policy(self) -> String {
        let Range { start, end } = Self::COMMON;
        let mut text = format!(
            "version = 1\ncontexts.core = {{ kind = \"transport\", labels = [\"{start}-{}\"] }}\n",
            end - 1
        );
        for number in 1..=self.0 {
            let vlan = match number.checked_sub(VLANS) {
                None | Some(0) => format!("[{number}]"),
                // Behind the last tag there is no tag, and then there are two.
                Some(1) => "[]".to_owned(),
                Some(outer) => format!("[{}, 1]", outer - 1),
            };
            let vlan = if vlan == "[]" { String::new() } else { format!(", vlan = {vlan}") };
            let first = 100_000 + number * Self::OWN;
            let _ = writeln!(
                text,
                "ingress.i{number} = {{ interface = \"{INTERFACE}\"{vlan}, role = \"core\", \
                 contexts = [\"core\"], labels = [\"{first}-{}\"] }}",
                first + Self::OWN - 1
            );
        }
        text
    }
}

impl fmt::Display for Ingresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.0 == 1 { "ingress" } else { "ingresses" };
        write!(f, "{} {noun}", thousands(self.0))
    }
}

/// Half of all labels accepted, the other half given out to nobody here: one of each two. Returns
/// the policy and both halves.
pub fn halves() -> (String, [Choice; 2]) {
    let labels = ALL_LABELS / 2;
    let choices =
        [0, 1].map(|flip| Choice { first: FIRST, step: 2, jitter: 2, flip, labels, vlans: 0 });
    let mut text = String::from("version = 1\n");
    for (name, choice) in ["given", "elsewhere"].into_iter().zip(choices) {
        let _ = write!(text, "contexts.{name} = {{ kind = \"vrf\", labels = [");
        singles(&mut text, choice, 0..labels);
        text.push_str("] }\n");
    }
    let _ = writeln!(
        text,
        "ingress.core = {{ interface = \"{INTERFACE}\", role = \"core\", contexts = [\"given\"] }}"
    );
    (text, choices)
}

/// A number as people read it.
pub fn thousands(number: u32) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| str::from_utf8(group).unwrap_or_default())
        .collect();
    groups.join(",")
}
