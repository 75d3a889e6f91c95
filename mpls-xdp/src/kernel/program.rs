//! Loads copies of the kernel program.

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Map, MapData},
    programs::{TestRun as _, TestRunOptions, Xdp, loaded_programs},
};
use mpls_xdp_ebpf::abi::{NONE, TEMPLATE_WORDS, Trace};

use super::{KernelError, Pins, PolicyMap, counters, sampling};

/// The committed object, aligned as the loader needs it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("KERNEL_OBJECT"));
/// SHA-256 of [`OBJECT`], in hexadecimal.
const OBJECT_DIGEST: &str = env!("KERNEL_OBJECT_DIGEST");
/// Names of the programs in the object and in the kernel: for frames in one piece, and for frames
/// that may come in fragments.
const PROGRAMS: [&str; 2] = ["mpls_xdp", "mpls_xdp_frags"];

/// The trace of a frame that passes without a verdict.
pub(crate) const UNTOUCHED: Trace =
    Trace { dropped: 0, reason: NONE, ingress: NONE, position: NONE, label: NONE, counter: NONE };

/// What a copy of the program is made for.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The slot of its interface.
    pub slot: u32,
    /// Words of the images that it reads.
    pub image_words: u32,
    /// Whether it takes frames in fragments, which costs each frame the question how long it is.
    pub fragments: bool,
    /// Whether it writes each verdict to the trace map.
    pub tracing: bool,
}

/// A copy of the kernel program.
pub struct FilterProgram {
    ebpf: Ebpf,
    name: &'static str,
    #[cfg(feature = "log")]
    logger: aya_log::EbpfLogger<&'static dyn log::Log>,
}

impl FilterProgram {
    /// SHA-256 of the object that programs are loaded from, in hexadecimal.
    pub fn object_digest() -> &'static str {
        OBJECT_DIGEST
    }

    /// Whether a loaded program is a copy of one of these by its name; no, where privileges to ask
    /// are missing (`CAP_SYS_ADMIN`).
    pub fn is_copy(id: u32) -> bool {
        let mut loaded = loaded_programs().filter_map(Result::ok);
        loaded.any(|program| {
            let is_ours = |name| PROGRAMS.contains(&name);
            program.id() == id && program.name_as_str().is_some_and(is_ours)
        })
    }

    /// Loads a copy. With `pins` it shares their maps, which are made if they are not there.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub fn load(settings: Settings, pins: Option<&Pins>) -> Result<Self, KernelError> {
        let object = sized_object(settings.image_words);
        let tracing = u32::from(settings.tracing);
        let mut loader = EbpfLoader::new();
        loader
            .override_global("INTERFACE", &settings.slot, true)
            .override_global("IMAGE_WORDS", &settings.image_words, true)
            .override_global("TRACING", &tracing, true);
        if let Some(pins) = pins {
            loader
                .map_pin_path("POLICY", pins.policy(settings.image_words))
                .map_pin_path("COUNTERS", pins.path("counters"))
                .map_pin_path("TRACE", pins.path("trace"))
                .map_pin_path("BUCKETS", pins.path(sampling::BUCKETS))
                .map_pin_path("SAMPLES", pins.path(sampling::SAMPLES));
        }
        let mut ebpf = loader.load(&object).map_err(permission)?;
        let name = PROGRAMS[usize::from(settings.fragments)];
        xdp(&mut ebpf, name)?.load()?;
        Ok(Self {
            name,
            #[cfg(feature = "log")]
            logger: aya_log::EbpfLogger::init(&mut ebpf).map_err(KernelError::Log)?,
            ebpf,
        })
    }

    /// The program.
    ///
    /// # Errors
    ///
    /// Never for the committed object.
    pub fn xdp(&mut self) -> Result<&mut Xdp, KernelError> {
        xdp(&mut self.ebpf, self.name)
    }

    /// The map of the active generation. The program must be kept while nothing else holds the
    /// map: the kernel empties a map of maps when the last handle or pin of user space goes.
    ///
    /// # Errors
    ///
    /// Never for the committed object.
    pub fn policy(&mut self) -> Result<PolicyMap<&mut MapData>, KernelError> {
        PolicyMap::new(self.map("POLICY")?)
    }

    /// Makes counter chunks until there are slots up to `end`, and pins them when `pins` are
    /// given.
    ///
    /// # Errors
    ///
    /// When the kernel has no memory for them.
    pub fn grow_counters(&mut self, pins: Option<&Pins>, end: u32) -> Result<(), KernelError> {
        counters::grow(self.map("COUNTERS")?, pins, end)
    }

    fn map(&mut self, name: &str) -> Result<&mut Map, KernelError> {
        self.ebpf.map_mut(name).ok_or_else(|| missing(name))
    }

    /// Runs a frame of 14 bytes or more through a program with tracing on, as `BPF_PROG_TEST_RUN`.
    /// Only its first `linear` bytes are in the linear part, when that is not all of it; this
    /// takes Linux 6.18.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the frame.
    pub fn trace(&mut self, frame: &[u8], linear: usize) -> Result<(u32, Trace), KernelError> {
        let name = "TRACE";
        let mut map = Array::<_, Trace>::try_from(self.map(name)?)?;
        // A program that decides without a verdict leaves no trace.
        map.set(0, UNTOUCHED, 0)?;
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        let context = xdp_md(linear);
        options.ctx_in = (linear < frame.len()).then_some(&context[..]);
        let action = self.xdp()?.test_run(options)?.return_value;
        #[cfg(feature = "log")]
        self.logger.flush();
        let map = Array::<_, Trace>::try_from(self.map(name)?)?;
        Ok((action, map.get(&0, 0)?))
    }
}

fn xdp<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, KernelError> {
    Ok(ebpf.program_mut(name).ok_or_else(|| missing(name))?.try_into()?)
}

/// A `struct xdp_md` of a frame whose linear part has `linear` bytes: `data_end` is the second of
/// its six words, and the others are 0.
fn xdp_md(linear: usize) -> [u8; 24] {
    let mut context = [0; 24];
    let end = u32::try_from(linear).unwrap_or(NONE);
    context[4..8].copy_from_slice(&end.to_ne_bytes());
    context
}

fn missing(name: &str) -> KernelError {
    aya::maps::MapError::InvalidName { name: name.to_owned() }.into()
}

fn permission(error: aya::EbpfError) -> KernelError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(cause) = source {
        if cause.downcast_ref().is_some_and(super::is_not_permitted) {
            return KernelError::NotPermitted;
        }
        source = cause.source();
    }
    error.into()
}

/// The object with its policy map declared for images of `words`: aya lets the number of a map's
/// entries be overridden, but not the size of an inner map's value.
fn sized_object(words: u32) -> Vec<u8> {
    const AT: usize = match usize::from_str_radix(env!("KERNEL_IMAGE_WORDS_AT"), 10) {
        Ok(at) => at,
        Err(_) => panic!("the record has no place of the number of words"),
    };
    let mut object = OBJECT.to_vec();
    let place = &mut object[AT..AT + 4];
    debug_assert_eq!(place, &TEMPLATE_WORDS.to_le_bytes()[..4]);
    place.copy_from_slice(&words.to_le_bytes());
    object
}
