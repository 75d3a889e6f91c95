//! `replay`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::{Compression, write::GzEncoder};
use mpls_xdp_tests::capture_file;
use mpls_xdp_tests::frame::{Frame, IPV4};
use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionBlock;

use super::support::{Lab, Output, core, is_bare};

const LINES: &str = "\
{\"frame\":1,\"verdict\":\"pass\",\"reason\":null,\"ingress\":\"at-eth1\",\"position\":0,\"label\":100}
{\"frame\":2,\"verdict\":\"drop\",\"reason\":\"label_out_of_range\",\"ingress\":\"at-eth1\",\"position\":0,\"label\":200}
{\"frame\":3,\"verdict\":\"pass\",\"reason\":null,\"ingress\":null,\"position\":null,\"label\":null}
{\"frame\":4,\"verdict\":\"drop\",\"reason\":\"ingress_unbound\",\"ingress\":null,\"position\":null,\"label\":null}
{\"frame\":5,\"verdict\":\"pass\",\"reason\":null,\"ingress\":null,\"position\":null,\"label\":null}
{\"frame\":6,\"verdict\":\"drop\",\"reason\":\"truncated\",\"ingress\":\"at-eth1\",\"position\":0,\"label\":null}
";

fn frames() -> Vec<Vec<u8>> {
    vec![
        Frame::mpls([100]).build(),
        Frame::mpls([200]).build(),
        Frame::new(IPV4).build(),
        Frame::mpls([100]).vlan(7).build(),
        vec![0; 13],
        Frame::mpls([100]).cut(16).build(),
    ]
}

fn replay(lab: &Lab, interface: &str, file: &Path, options: &[&str]) -> Output {
    let policy = lab.policy(&core(&["eth1"], r#""100-199""#));
    let policy = policy.to_str().unwrap();
    let file = file.to_str().unwrap();
    lab.run(["replay", policy, "--interface", interface, file].iter().chain(options))
}

fn pcap(lab: &Lab) -> PathBuf {
    let path = lab.store.directory().join("capture.pcap");
    capture_file::write(&path, frames()).unwrap();
    path
}

#[test]
fn json_has_a_line_for_each_frame_in_order() {
    let lab = Lab::new();
    let file = pcap(&lab);
    let output = replay(&lab, "eth1", &file, &["--json"]).ends(0);
    assert_eq!(output.stdout, LINES);
    assert_eq!(output.stderr, "");
    assert!(is_bare(lab.store.bpffs()));
}

#[test]
fn the_human_form_ends_with_a_summary_by_reason() {
    let lab = Lab::new();
    let output = replay(&lab, "eth1", &pcap(&lab), &[]).ends(0);
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines.len(), 7, "{output}");
    assert!(lines[1].contains("drop") && lines[1].contains("label_out_of_range"), "{output}");
    assert!(lines[1].contains("at-eth1") && lines[1].contains("200"), "{output}");
    let summary = lines[6];
    assert!(summary.starts_with("6 frames"), "{output}");
    for part in ["accepted 1", "label_out_of_range 1", "ingress_unbound 1", "truncated 1"] {
        assert!(summary.contains(part), "no {part} in {summary}");
    }
}

#[test]
fn an_interface_that_the_policy_does_not_name_passes_everything() {
    let lab = Lab::new();
    let output = replay(&lab, "eth7", &pcap(&lab), &["--json"]).ends(0).says(&["warning", "eth7"]);
    assert_eq!(output.stdout.lines().count(), 6);
    for line in output.stdout.lines() {
        assert!(line.ends_with(
            "\"verdict\":\"pass\",\"reason\":null,\"ingress\":null,\"position\":null,\"label\":null}"
        ));
    }
}

#[test]
fn compressed_files_and_pcapng_are_read_too() {
    let lab = Lab::new();
    let plain = std::fs::read(pcap(&lab)).unwrap();
    let compress = |bytes: &[u8]| {
        let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    };
    let mut writer = PcapNgWriter::new(Vec::new()).unwrap();
    let description =
        InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: 0, options: vec![] };
    writer.write_pcapng_block(description).unwrap();
    for frame in frames() {
        let packet = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: Duration::ZERO,
            original_len: u32::try_from(frame.len()).unwrap(),
            data: frame.into(),
            options: vec![],
        };
        writer.write_pcapng_block(packet).unwrap();
    }
    let next_generation = writer.into_inner();
    let mut parts = compress(&plain[..30]);
    parts.extend(compress(&plain[30..]));
    for (name, bytes) in [
        ("a.pcap.gz", compress(&plain)),
        ("two-members.gz", parts),
        ("a.pcapng.gz", compress(&next_generation)),
        ("a.pcapng", next_generation),
    ] {
        let file = lab.file(name, bytes);
        assert_eq!(replay(&lab, "eth1", &file, &["--json"]).ends(0).stdout, LINES, "{name}");
    }
}

#[test]
fn what_cannot_be_replayed_is_1() {
    let lab = Lab::new();
    let plain = std::fs::read(pcap(&lab)).unwrap();
    let cases: [(&str, Vec<u8>, &[&str]); 5] = [
        ("cooked.pcap", with_link_type(&plain, 113), &["link type 113", "Ethernet"]),
        ("cut.pcap", plain[..plain.len() - 3].to_vec(), &["frame 6", "damaged"]),
        ("text.pcap", b"this is no capture at all, but some text".to_vec(), &["frame 1"]),
        ("empty.pcap", Vec::new(), &["frame 1"]),
        ("cut.pcap.gz", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], &[]),
    ];
    for (name, bytes, words) in cases {
        let file = lab.file(name, bytes);
        replay(&lab, "eth1", &file, &[]).ends(1).says(&[name]).says(words);
    }
    let missing = lab.store.directory().join("missing.pcap");
    let output = replay(&lab, "eth1", &missing, &[]).ends(1).says(&["missing.pcap"]);
    assert_eq!(output.stderr.matches("No such file").count(), 1, "{output}");
    // The high bits tell of frame check sequences.
    let file = lab.file("fcs.pcap", with_link_type(&plain, 0x5400_0001));
    assert_eq!(replay(&lab, "eth1", &file, &["--json"]).ends(0).stdout, LINES);
}

/// A capture with another link type in its header, whose byte order is that of its first bytes.
fn with_link_type(capture: &[u8], link_type: u32) -> Vec<u8> {
    let mut bytes = capture.to_vec();
    let big = bytes[0] == 0xa1;
    let value = if big { link_type.to_be_bytes() } else { link_type.to_le_bytes() };
    bytes[20..24].copy_from_slice(&value);
    bytes
}
