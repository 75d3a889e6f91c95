//! Capture files for `mpls-xdp replay` (§7 of the semantics).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};

/// Writes the frames, in order, to a pcap file of link type Ethernet, a microsecond apart.
pub fn write<F: AsRef<[u8]>>(path: &Path, frames: impl IntoIterator<Item = F>) -> Result<()> {
    let context = || format!("cannot write {}", path.display());
    let file = File::create(path).with_context(context)?;
    write_to(BufWriter::new(file), frames).with_context(context)
}

/// As [`write()`], to any writer.
pub fn write_to<F: AsRef<[u8]>>(
    writer: impl Write,
    frames: impl IntoIterator<Item = F>,
) -> Result<()> {
    let header = PcapHeader { datalink: DataLink::ETHERNET, ..PcapHeader::default() };
    let mut capture = PcapWriter::with_header(writer, header)?;
    for (microseconds, frame) in (0..).zip(frames) {
        let frame = frame.as_ref();
        let length = u32::try_from(frame.len()).context("a frame of 4 GiB or more")?;
        let packet = PcapPacket::new(Duration::from_micros(microseconds), length, frame);
        capture.write_packet(&packet)?;
    }
    // A buffered writer that is merely dropped would keep a full disk to itself.
    capture.into_writer().flush().context("the end of the file")
}

#[cfg(test)]
mod tests {
    use pcap_file::pcap::PcapReader;

    use super::*;

    fn written(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_to(&mut bytes, frames).unwrap();
        bytes
    }

    #[test]
    fn the_header_says_pcap_2_4_and_ethernet() {
        let bytes = written(&[]);
        assert_eq!(bytes.len(), 24);
        let (magic, rest) = bytes.split_at(4);
        let big = magic == [0xa1, 0xb2, 0xc3, 0xd4];
        assert!(big || magic == [0xd4, 0xc3, 0xb2, 0xa1]);
        let (version, linktype): (&[u8], &[u8]) =
            if big { (&[0, 2, 0, 4], &[0, 0, 0, 1]) } else { (&[2, 0, 4, 0], &[1, 0, 0, 0]) };
        assert_eq!((&rest[..4], &bytes[20..]), (version, linktype));
    }

    #[test]
    fn every_frame_comes_back_whole_and_in_order() {
        let frames: Vec<_> = [0, 1, 13, 14, 60, 1514, 9200].map(|length| vec![7; length]).into();
        let bytes = written(&frames);
        let mut reader = PcapReader::new(&bytes[..]).unwrap();
        for frame in &frames {
            let packet = reader.next_packet().unwrap().unwrap();
            assert_eq!(&packet.data[..], &frame[..]);
            assert_eq!(usize::try_from(packet.orig_len).unwrap(), frame.len());
        }
        assert!(reader.next_packet().is_none());
    }

    #[test]
    fn a_file_that_cannot_be_made_is_named() {
        let error = write(Path::new("/nonexistent/a.pcap"), [[0; 14]]).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/a.pcap"));
    }
}
