//! Reads frames from pcap and pcapng files, gzipped or not.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use flate2::read::MultiGzDecoder;
use pcap_file::{
    DataLink, PcapError,
    pcap::PcapReader,
    pcapng::{Block, PcapNgReader},
};
use thiserror::Error;

/// Ethernet, in the low 16 bits of a link type.
const ETHERNET: u32 = 1;
/// First bytes of a gzip file (RFC 1952 §2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// First bytes of a pcapng file.
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Why a capture cannot be read.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// The file.
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    /// Its content.
    #[error("frame {frame}: not a pcap or pcapng file, or damaged there: {source}")]
    Format {
        /// Number of the frame after the last that could be read, from 1.
        frame: usize,
        /// What the reader says.
        source: PcapError,
    },
    /// Not recorded on Ethernet.
    #[error(
        "frame {frame} was recorded with link type {link_type}; only Ethernet (1) can be replayed"
    )]
    NotEthernet {
        /// Number of the frame, from 1.
        frame: usize,
        /// The file's link type.
        link_type: u32,
    },
    /// It ends before the frame that was asked for.
    #[error("it has no frame {number}: it ends after {frames}")]
    NoSuchFrame {
        /// The number that was asked for, from 1.
        number: usize,
        /// How many there are.
        frames: usize,
    },
}

/// The frame of this number, from 1. What follows it in the file is not read.
///
/// # Errors
///
/// When the file cannot be read that far, or has no such frame.
pub fn frame(path: &Path, number: usize) -> Result<Vec<u8>, CaptureError> {
    /// Why reading ends early.
    enum Stop {
        Found(Vec<u8>),
        Failed(CaptureError),
    }
    impl From<CaptureError> for Stop {
        fn from(error: CaptureError) -> Self {
            Self::Failed(error)
        }
    }
    let mut frames = 0;
    let end = for_each_frame(path, |frame| {
        frames += 1;
        if frames == number { Err(Stop::Found(frame.to_vec())) } else { Ok(()) }
    });
    match end {
        Err(Stop::Found(frame)) => Ok(frame),
        Err(Stop::Failed(error)) => Err(error),
        Ok(()) => Err(CaptureError::NoSuchFrame { number, frames }),
    }
}

/// Calls `each` with every frame of a file, in order.
///
/// # Errors
///
/// When the file cannot be read to its end; the error of `each`.
pub fn for_each_frame<E: From<CaptureError>>(
    path: &Path,
    each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let (start, file) = peek::<2>(File::open(path).map_err(CaptureError::from)?)?;
    if start == GZIP {
        read(MultiGzDecoder::new(BufReader::new(file)), each)
    } else {
        read(file, each)
    }
}

fn read<E: From<CaptureError>>(
    file: impl Read,
    each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let (start, file) = peek::<4>(file)?;
    if start == PCAPNG { read_pcapng(file, each) } else { read_pcap(file, each) }
}

/// The first bytes of a file, and the file as if they had not been read.
fn peek<const LEN: usize>(mut file: impl Read) -> Result<([u8; LEN], impl Read), CaptureError> {
    let mut start = Vec::with_capacity(LEN);
    file.by_ref().take(LEN as u64).read_to_end(&mut start)?;
    let mut bytes = [0; LEN];
    bytes[..start.len()].copy_from_slice(&start);
    Ok((bytes, io::Cursor::new(start).chain(file)))
}

fn read_pcap<E: From<CaptureError>>(
    file: impl Read,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let format = |frame| move |source| CaptureError::Format { frame, source };
    let mut reader = PcapReader::new(file).map_err(format(1))?;
    let link_type = reader.header().datalink;
    let mut frame = 1;
    while let Some(packet) = reader.next_raw_packet() {
        let packet = packet.map_err(format(frame))?;
        ensure_ethernet(frame, link_type)?;
        each(&packet.data)?;
        frame += 1;
    }
    // Without a frame the type of the file still says whether it could be replayed.
    Ok(ensure_ethernet(frame, link_type)?)
}

fn read_pcapng<E: From<CaptureError>>(
    file: impl Read,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let format = |frame| move |source| CaptureError::Format { frame, source };
    let mut reader = PcapNgReader::new(file).map_err(format(1))?;
    let mut link_types: Vec<DataLink> = Vec::new();
    let mut frame = 1;
    while let Some(block) = reader.next_block() {
        let (interface, data): (u32, Cow<'_, [u8]>) = match block.map_err(format(frame))? {
            Block::SectionHeader(_) => {
                link_types.clear();
                continue;
            }
            Block::InterfaceDescription(interface) => {
                link_types.push(interface.linktype);
                continue;
            }
            Block::EnhancedPacket(packet) => (packet.interface_id, packet.data),
            Block::SimplePacket(packet) => (0, packet.data),
            Block::Packet(packet) => (packet.interface_id.into(), packet.data),
            _ => continue,
        };
        let link_type = usize::try_from(interface).ok().and_then(|at| link_types.get(at));
        let link_type = *link_type
            .ok_or(PcapError::InvalidField("no such interface"))
            .map_err(format(frame))?;
        ensure_ethernet(frame, link_type)?;
        each(&data)?;
        frame += 1;
    }
    Ok(())
}

/// The high bits of a link type tell of frame check sequences, not of another link.
fn ensure_ethernet(frame: usize, link_type: DataLink) -> Result<(), CaptureError> {
    let link_type = u32::from(link_type);
    if link_type & 0xffff == ETHERNET {
        Ok(())
    } else {
        Err(CaptureError::NotEthernet { frame, link_type })
    }
}
