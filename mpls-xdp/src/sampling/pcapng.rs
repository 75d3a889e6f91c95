//! Writes samples as pcapng, which Wireshark and tshark read.

use std::{
    borrow::Cow,
    io::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use mpls_xdp_ebpf::sample::CAPTURED;
use pcap_file::{
    DataLink, Endianness, PcapError,
    pcapng::{
        PcapNgBlock, PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
            interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption},
            section_header::{SectionHeaderBlock, SectionHeaderOption},
        },
    },
};

use super::{Sample, Summary};

/// Time stamps count units of 10^-9 seconds.
const NANOSECONDS: u8 = 9;

/// Writes samples with the names of their interfaces, and why they were refused as a comment.
pub struct SampleWriter<W: Write> {
    writer: PcapNgWriter<W>,
    interfaces: Vec<String>,
}

impl<W: Write> SampleWriter<W> {
    /// Begins a file. Interfaces that are not named yet can come in later.
    ///
    /// # Errors
    ///
    /// When nothing can be written.
    pub fn new(writer: W, interfaces: &[String]) -> io::Result<Self> {
        let program = concat!("mpls-xdp ", env!("CARGO_PKG_VERSION"));
        let section = SectionHeaderBlock {
            endianness: Endianness::native(),
            options: vec![
                SectionHeaderOption::OS(Cow::Borrowed("Linux")),
                SectionHeaderOption::UserApplication(Cow::Borrowed(program)),
            ],
            ..SectionHeaderBlock::default()
        };
        let writer = PcapNgWriter::with_section_header(writer, section).map_err(io_error)?;
        let mut writer = Self { writer, interfaces: Vec::new() };
        for interface in interfaces {
            writer.interface(interface)?;
        }
        Ok(writer)
    }

    /// Writes a sample.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&mut self, sample: &Sample) -> io::Result<()> {
        let interface_id = self.interface(&sample.place.interface)?;
        self.block(EnhancedPacketBlock {
            interface_id,
            timestamp: sample.time.duration_since(UNIX_EPOCH).unwrap_or_default(),
            original_len: sample.length,
            data: Cow::Borrowed(&sample.bytes),
            options: vec![EnhancedPacketOption::Comment(Cow::Owned(comment(sample)))],
        })
    }

    /// Writes how many frames were refused on each interface, and how many of them are not in the
    /// file, as far as that is due to sampling.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        for (id, interface) in (0..).zip(self.interfaces.clone()) {
            let here = summary.tallies.iter().filter(|tally| tally.place.interface == interface);
            let (refused, sampled) = here.fold((0, 0), |(refused, sampled), tally| {
                (refused + tally.counts.refused, sampled + tally.counts.sampled)
            });
            self.block(InterfaceStatisticsBlock {
                interface_id: id,
                // The format has the high word first, whatever the byte order; the crate does not.
                timestamp: if cfg!(target_endian = "little") { now.rotate_left(32) } else { now },
                options: vec![
                    InterfaceStatisticsOption::IsbIfRecv(refused),
                    InterfaceStatisticsOption::IsbIfDrop(refused - sampled),
                ],
            })?;
        }
        self.flush()
    }

    /// Hands everything on that was written.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.get_mut().flush()
    }

    /// The number of an interface, which is described the first time.
    fn interface(&mut self, name: &str) -> io::Result<u32> {
        let known = self.interfaces.iter().position(|known| known == name);
        if known.is_none() {
            self.block(InterfaceDescriptionBlock {
                linktype: DataLink::ETHERNET,
                snaplen: CAPTURED,
                options: vec![
                    InterfaceDescriptionOption::IfName(Cow::Owned(name.to_owned())),
                    InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
                ],
            })?;
            self.interfaces.push(name.to_owned());
        }
        u32::try_from(known.unwrap_or(self.interfaces.len() - 1)).map_err(io::Error::other)
    }

    fn block<'a>(&mut self, block: impl PcapNgBlock<'a>) -> io::Result<()> {
        self.writer.write_pcapng_block(block).map(drop).map_err(io_error)
    }
}

/// Why a sample was refused, for people.
fn comment(sample: &Sample) -> String {
    let mut text = sample.cause.name().to_owned();
    if let Some(ingress) = &sample.place.ingress {
        text += &format!(" at {ingress}");
    }
    text += if sample.dropped { ", dropped" } else { ", would drop" };
    if let Some(position) = sample.position {
        text += &format!(", entry {position}");
    }
    if let Some(label) = sample.label {
        text += &format!(", label {label}");
    }
    text
}

fn io_error(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        error => io::Error::other(error),
    }
}
