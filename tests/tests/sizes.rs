//! How large programs and maps are: `data/sizes.toml` has what they may be.
//!
//! Nothing is timed here. The instructions of the object do not depend on the kernel and must be
//! those of the file. What the kernel makes of them does: on kernels of another series they may be
//! a fifth more.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use aya::maps::MapInfo;
use aya::programs::{ProgramInfo, loaded_programs};
use mpls_xdp_tests::lab::{Link, Namespace, Store, Veth};
use mpls_xdp_tests::leak::Objects;
use mpls_xdp_tests::product;
use object::{Object as _, ObjectSection as _, SectionKind};
use serde::{Deserialize, Serialize};

const FILE: &str = "tests/data/sizes.toml";
const OBJECT: &str = "../mpls-xdp/kernel/mpls-xdp.o";
const REWRITE: &str =
    "if this growth is meant, run `cargo xtask sizes` and commit tests/tests/data/sizes.toml";
/// What other kernels, and other CPUs for compiled code, may add: a fifth.
const ALLOWANCE: u32 = 5;
const INSTRUCTION: u64 = 8;

/// Policies that programs are made for.
const POLICIES: [(&str, &str); 3] = [
    (
        "customers only",
        r#"
        version = 1
        ingress.customer = { interface = "eth0", role = "customer" }
        "#,
    ),
    (
        "a peer",
        r#"
        version = 1
        contexts.red = { kind = "vrf", labels = [100] }
        ingress.peer = { interface = "eth0", role = "peer", contexts = ["red"], max-depth = 1 }
        "#,
    ),
    (
        "everything",
        r#"
        version = 1
        contexts.core = { kind = "transport", labels = ["16000-16006", "16008-23999"] }
        contexts.own-sid = { kind = "transport", labels = [16007], pops = true }
        contexts.red = { kind = "vrf", labels = [100, 102, 104, "1000-1099"] }
        ingress.core = { interface = "eth0", role = "core", contexts = ["core", "own-sid", "red"], labels = ["24000-24063"] }
        ingress.tagged = { interface = "eth0", vlan = [100], role = "core", contexts = ["core"], inner = "validate", mode = "monitor" }
        ingress.qinq = { interface = "eth0", vlan = [200, 100], role = "peer", labels = [500], special = ["extended", "oam-alert"] }
        "#,
    ),
];

/// What `cargo xtask sizes` writes.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Sizes {
    /// The kernel that the programs were measured on.
    kernel: String,
    /// Instructions of each section of the object that holds code.
    object: BTreeMap<String, u64>,
    /// Programs and maps by policy.
    policies: BTreeMap<String, Loaded>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Loaded {
    /// Instructions that the verifier went through.
    verified: u32,
    /// Bytes of instructions as the kernel keeps them.
    translated: u32,
    /// Bytes of compiled code.
    jited: u32,
    /// Bytes of all maps with one name, on one CPU.
    maps: BTreeMap<String, u64>,
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sizes.toml")
}

impl Sizes {
    fn committed() -> Result<Self> {
        let text = fs::read_to_string(file()).with_context(|| format!("{FILE}; {REWRITE}"))?;
        toml::from_str(&text).with_context(|| format!("{FILE} is not readable; {REWRITE}"))
    }

    fn measured() -> Result<Self> {
        let policies = POLICIES.iter().map(|(name, policy)| {
            let loaded = Loaded::with(policy).with_context(|| format!("policy {name}"));
            Ok(((*name).to_owned(), loaded?))
        });
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        Ok(Self {
            kernel: series(&kernel).to_owned(),
            object: instructions()?,
            policies: policies.collect::<Result<_>>()?,
        })
    }
}

/// The first two numbers of a kernel's release: what is in between changes no sizes.
fn series(release: &str) -> &str {
    let end = release.match_indices('.').nth(1).map_or(release.len(), |(at, _)| at);
    &release[..end]
}

fn instructions() -> Result<BTreeMap<String, u64>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(OBJECT);
    let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
    let object = object::File::parse(bytes.as_slice())?;
    let code = object.sections().filter(|section| section.kind() == SectionKind::Text);
    let sizes = code.map(|section| Ok((section.name()?.to_owned(), section.size() / INSTRUCTION)));
    sizes.filter(|size| !matches!(size, Ok((_, 0)))).collect()
}

impl Loaded {
    /// Puts a policy in force and looks at what the kernel holds.
    fn with(policy: &str) -> Result<Self> {
        // A constant name: the kernel's tables hold it.
        const NAME: &str = "policy.toml";
        let namespace = Namespace::new("sizes")?;
        let (link, _other_end) =
            Veth::between((&namespace, "eth0"), (&namespace, "peer")).create()?;
        let store = Store::new()?;
        fs::write(store.directory().join(NAME), policy)?;
        let mut command = namespace.command(product::binary()?);
        command.args(store.arguments()).args(["apply", NAME]).current_dir(store.directory());
        let output = command.output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "mpls-xdp apply: {}", complaint.trim());

        let program = attached(&link)?;
        let mut maps = BTreeMap::new();
        for (map, name) in Objects::pinned_under(store.bpffs())?.maps {
            let info = MapInfo::from_id(map)?;
            *maps.entry(name).or_default() +=
                u64::from(info.value_size()) * u64::from(info.max_entries());
        }
        let unknown = "this kernel does not say how large programs are: Linux 5.16 or later does";
        Ok(Self {
            verified: program.verified_instruction_count().context(unknown)?,
            translated: program.size_translated().context(unknown)?,
            jited: program.size_jitted(),
            maps,
        })
    }
}

fn attached(link: &Link) -> Result<ProgramInfo> {
    let id = link.xdp_program()?.context("apply attached no program")?;
    let found = loaded_programs().filter_map(Result::ok).find(|info| info.id() == id);
    found.with_context(|| format!("there is no program {id}"))
}

#[test]
fn programs_and_maps_are_as_large_as_written_down() -> Result<()> {
    let (is, may) = (Sizes::measured()?, Sizes::committed()?);
    let mut complaints = Vec::new();
    if is.object != may.object {
        complaints.push(format!(
            "the object has {:?} instructions, and {:?} are written down",
            is.object, may.object
        ));
    }
    let with_allowance = |size: u32| size + size / ALLOWANCE;
    let on_this_kernel = |size| if is.kernel == may.kernel { size } else { with_allowance(size) };
    for (name, is) in &is.policies {
        let Some(may) = may.policies.get(name) else {
            complaints.push(format!("policy {name}: nothing is written down"));
            continue;
        };
        let sizes = [
            (
                "instructions gone through by the verifier",
                is.verified,
                on_this_kernel(may.verified),
            ),
            ("bytes of instructions", is.translated, on_this_kernel(may.translated)),
            ("bytes of compiled code", is.jited, with_allowance(may.jited)),
        ];
        for (what, is, may) in sizes {
            if is > may {
                complaints.push(format!("policy {name}: {is} {what}, {may} at most"));
            }
        }
        for (map, is) in &is.maps {
            let may = may.maps.get(map).copied().unwrap_or_default();
            if *is > may {
                complaints
                    .push(format!("policy {name}: maps {map} have {is} bytes, {may} at most"));
            }
        }
    }
    ensure!(complaints.is_empty(), "{}\n{REWRITE}", complaints.join("\n"));
    Ok(())
}

#[test]
#[ignore = "writes into the repository: cargo xtask sizes"]
fn write_the_sizes() -> Result<()> {
    let text = format!(
        "# How large programs and maps may be; written by `cargo xtask sizes`.\n{}",
        toml::to_string(&Sizes::measured()?)?
    );
    fs::write(file(), text).with_context(|| FILE.to_owned())
}

#[test]
fn a_series_is_the_first_two_numbers_of_a_release() {
    assert_eq!(series("6.1.0-56-amd64"), "6.1");
    assert_eq!(series("6.18.44"), "6.18");
    assert_eq!(series("7.0"), "7.0");
}
