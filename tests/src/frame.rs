//! Ethernet frames as a test wants them, byte for byte.
//!
//! ```
//! use mpls_xdp_tests::frame::{Frame, LabelEntry, Tag};
//!
//! // What a neighbour in VLAN 100 would send into the VPN with label 24000.
//! let frame = Frame::mpls([16_007, 24_000]).tag(Tag::customer(100)).build();
//! assert_eq!(frame[12..16], [0x81, 0x00, 0x00, 0x64]);
//! assert_eq!(frame[16..18], [0x88, 0x47]);
//! assert_eq!(LabelEntry::new(16_007).to_bytes(), frame[18..22]);
//! assert_eq!(LabelEntry::new(24_000).bottom().to_bytes(), frame[22..26]);
//!
//! // The same, but it ends inside its second label entry.
//! assert_eq!(frame[..24], Frame::mpls([16_007, 24_000]).vlan(100).cut(24).build());
//! ```

use etherparse::PacketBuilder;

/// IPv4 (RFC 894).
pub const IPV4: u16 = 0x0800;
/// MPLS with downstream-assigned labels (RFC 3032, RFC 5332).
pub const MPLS: u16 = 0x8847;
/// MPLS with upstream-assigned labels (RFC 5332).
pub const MPLS_UPSTREAM: u16 = 0x8848;
/// Local experimental EtherType 1 (IEEE 802): nobody else's.
pub const EXPERIMENTAL: u16 = 0x88b5;

/// TPID of a customer tag (IEEE 802.1Q).
pub const C_TAG: u16 = 0x8100;
/// TPID of a service tag (IEEE 802.1ad).
pub const S_TAG: u16 = 0x88a8;
/// TPID that outer tags had before IEEE 802.1ad.
pub const OLD_OUTER_TAG: u16 = 0x9100;

const SOURCE: [u8; 6] = [0x02, 0, 0x5e, 0x10, 0, 0x01];
const DESTINATION: [u8; 6] = [0x02, 0, 0x5e, 0x10, 0, 0x02];

/// Addresses and port that documents and nobody else use (RFC 5737, RFC 863).
const IPV4_SOURCE: [u8; 4] = [192, 0, 2, 1];
const IPV4_DESTINATION: [u8; 4] = [198, 51, 100, 1];
const UDP_SOURCE: u16 = 49_152;
const UDP_DESTINATION: u16 = 9;

/// Length of the IPv4 and UDP headers before a datagram's data.
const DATAGRAM_HEADERS: usize = 20 + 8;
const DEFAULT_TTL: u8 = 64;

/// A VLAN tag: TPID and what makes up the tag control information.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tag {
    /// Tag protocol identifier.
    pub tpid: u16,
    /// Priority code point, 0 to 7.
    pub pcp: u8,
    /// Drop eligible indicator.
    pub dei: bool,
    /// VLAN ID, 0 to 4095.
    pub vid: u16,
}

impl Tag {
    /// A tag with this TPID and VLAN ID, and priority 0.
    #[must_use]
    pub const fn new(tpid: u16, vid: u16) -> Self {
        assert!(vid < 1 << 12, "a VLAN ID has 12 bits");
        Self { tpid, pcp: 0, dei: false, vid }
    }

    /// A customer tag (0x8100).
    #[must_use]
    pub const fn customer(vid: u16) -> Self {
        Self::new(C_TAG, vid)
    }

    /// A service tag (0x88a8).
    #[must_use]
    pub const fn service(vid: u16) -> Self {
        Self::new(S_TAG, vid)
    }

    /// The same tag with this priority.
    #[must_use]
    pub const fn pcp(self, pcp: u8) -> Self {
        assert!(pcp < 1 << 3, "a priority code point has 3 bits");
        Self { pcp, ..self }
    }

    /// The tag as it stands in a frame.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 4] {
        let control = u16::from(self.pcp) << 13 | u16::from(self.dei) << 12 | self.vid;
        let ([t0, t1], [c0, c1]) = (self.tpid.to_be_bytes(), control.to_be_bytes());
        [t0, t1, c0, c1]
    }
}

/// A label stack entry (RFC 3032 §2.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LabelEntry {
    /// The label, 20 bits.
    pub label: u32,
    /// Traffic class, 3 bits.
    pub tc: u8,
    /// Bottom of stack.
    pub s: bool,
    /// Time to live.
    pub ttl: u8,
}

impl LabelEntry {
    /// An entry with traffic class 0 and TTL 64 that is not the last.
    #[must_use]
    pub const fn new(label: u32) -> Self {
        assert!(label < 1 << 20, "a label has 20 bits");
        Self { label, tc: 0, s: false, ttl: DEFAULT_TTL }
    }

    /// The same entry with this traffic class.
    #[must_use]
    pub const fn tc(self, tc: u8) -> Self {
        assert!(tc < 1 << 3, "a traffic class has 3 bits");
        Self { tc, ..self }
    }

    /// The same entry with this time to live.
    #[must_use]
    pub const fn ttl(self, ttl: u8) -> Self {
        Self { ttl, ..self }
    }

    /// The same entry as the bottom of its stack.
    #[must_use]
    pub const fn bottom(self) -> Self {
        Self { s: true, ..self }
    }

    /// The entry as it stands in a frame.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 4] {
        let word = self.label << 12
            | u32::from(self.tc) << 9
            | u32::from(self.s) << 8
            | u32::from(self.ttl);
        word.to_be_bytes()
    }
}

/// The usual stack: these labels from top to bottom, S on the last.
#[must_use]
pub fn label_stack(labels: impl IntoIterator<Item = u32>) -> Vec<LabelEntry> {
    let mut stack: Vec<_> = labels.into_iter().map(LabelEntry::new).collect();
    if let Some(last) = stack.last_mut() {
        last.s = true;
    }
    stack
}

/// What follows the label stack, or the EtherType where there is none.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Payload {
    /// An IPv4 packet with a UDP datagram that holds these bytes.
    Datagram(Vec<u8>),
    /// The same, as large as makes the whole frame this long.
    DatagramUpTo(usize),
    /// These bytes.
    Raw(Vec<u8>),
}

/// A frame in the making.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    destination: [u8; 6],
    source: [u8; 6],
    tags: Vec<Tag>,
    ether_type: u16,
    stack: Vec<LabelEntry>,
    payload: Payload,
    cut: Option<usize>,
}

impl Frame {
    /// An untagged frame of this EtherType with a small IPv4/UDP packet.
    #[must_use]
    pub const fn new(ether_type: u16) -> Self {
        Self {
            destination: DESTINATION,
            source: SOURCE,
            tags: Vec::new(),
            ether_type,
            stack: Vec::new(),
            payload: Payload::Datagram(Vec::new()),
            cut: None,
        }
    }

    /// An untagged frame of type 0x8847 with the usual stack of these labels.
    #[must_use]
    pub fn mpls(labels: impl IntoIterator<Item = u32>) -> Self {
        Self::new(MPLS).stack(label_stack(labels))
    }

    /// To this MAC address.
    #[must_use]
    pub const fn destination(mut self, address: [u8; 6]) -> Self {
        self.destination = address;
        self
    }

    /// From this MAC address.
    #[must_use]
    pub const fn source(mut self, address: [u8; 6]) -> Self {
        self.source = address;
        self
    }

    /// One more tag, inside those that are there.
    #[must_use]
    pub fn tag(mut self, tag: Tag) -> Self {
        self.tags.push(tag);
        self
    }

    /// One more customer tag, inside those that are there.
    #[must_use]
    pub fn vlan(self, vid: u16) -> Self {
        self.tag(Tag::customer(vid))
    }

    /// With this type after the tags.
    #[must_use]
    pub const fn ether_type(mut self, ether_type: u16) -> Self {
        self.ether_type = ether_type;
        self
    }

    /// With exactly these label entries; S stands where the entries say.
    #[must_use]
    pub fn stack(mut self, entries: impl IntoIterator<Item = LabelEntry>) -> Self {
        self.stack = entries.into_iter().collect();
        self
    }

    /// With these bytes as the UDP datagram's data: makes frames tell-able from each other.
    #[must_use]
    pub fn data(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.payload = Payload::Datagram(data.into());
        self
    }

    /// With a UDP datagram that makes the whole frame this long.
    #[must_use]
    pub fn length(mut self, length: usize) -> Self {
        self.payload = Payload::DatagramUpTo(length);
        self
    }

    /// With these bytes instead of an IPv4 packet.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload = Payload::Raw(payload.into());
        self
    }

    /// Cut after so many bytes; a shorter frame stays as it is.
    #[must_use]
    pub const fn cut(mut self, length: usize) -> Self {
        self.cut = Some(length);
        self
    }

    /// The frame's bytes, without a frame check sequence.
    ///
    /// # Panics
    ///
    /// When [`length`](Self::length) asks for less than the headers need, or for more than an IPv4
    /// packet can hold.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut frame = [self.destination, self.source].concat();
        frame.extend(self.tags.iter().flat_map(|tag| tag.to_bytes()));
        frame.extend(self.ether_type.to_be_bytes());
        frame.extend(self.stack.iter().flat_map(|entry| entry.to_bytes()));
        match &self.payload {
            Payload::Raw(bytes) => frame.extend(bytes),
            Payload::Datagram(data) => append_datagram(&mut frame, data),
            Payload::DatagramUpTo(length) => {
                let data = length
                    .checked_sub(frame.len() + DATAGRAM_HEADERS)
                    .expect("the frame is to be longer than its headers");
                append_datagram(&mut frame, &vec![0; data]);
            }
        }
        frame.truncate(self.cut.unwrap_or(usize::MAX));
        frame
    }
}

/// Appends an IPv4 packet with right lengths and checksums.
fn append_datagram(frame: &mut Vec<u8>, data: &[u8]) {
    PacketBuilder::ipv4(IPV4_SOURCE, IPV4_DESTINATION, DEFAULT_TTL)
        .udp(UDP_SOURCE, UDP_DESTINATION)
        .write_to_vec(frame, data)
        .expect("the datagram's data fits into an IPv4 packet");
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    use super::*;

    #[test]
    fn tags_and_entries_stand_in_network_order() {
        let tag = Tag { tpid: S_TAG, pcp: 5, dei: true, vid: 0xabc };
        assert_eq!(tag.to_bytes(), [0x88, 0xa8, 0xba, 0xbc]);
        let entry = LabelEntry::new(0xabcde).tc(5).ttl(7).bottom();
        assert_eq!(entry.to_bytes(), [0xab, 0xcd, 0xeb, 0x07]);
    }

    #[test]
    fn the_usual_stack_ends_with_s() {
        let ends: Vec<_> = label_stack([100, 200, 300]).iter().map(|entry| entry.s).collect();
        assert_eq!(ends, [false, false, true]);
        assert!(label_stack([]).is_empty());
    }

    #[test]
    fn addresses_tags_and_stack_come_in_order() {
        let frame = Frame::mpls([100])
            .destination([1; 6])
            .source([2; 6])
            .tag(Tag::service(200))
            .tag(Tag::customer(100).pcp(7))
            .payload(*b"rest")
            .build();
        let expected = [
            &[1; 6][..],
            &[2; 6],
            &[0x88, 0xa8, 0x00, 200],
            &[0x81, 0x00, 0xe0, 100],
            &[0x88, 0x47],
            &[0x00, 0x06, 0x41, 64],
            b"rest",
        ]
        .concat();
        assert_eq!(frame, expected);
    }

    #[test]
    fn the_packet_under_the_stack_is_a_right_one() {
        let frame = Frame::mpls([100]).data(*b"hello").build();
        let packet = SlicedPacket::from_ip(&frame[18..]).unwrap();
        let Some(NetSlice::Ipv4(ipv4)) = packet.net else { panic!("not IPv4: {packet:?}") };
        let header = ipv4.header().to_header();
        assert_eq!(header.header_checksum, header.calc_header_checksum());
        let Some(TransportSlice::Udp(udp)) = packet.transport else { panic!("no UDP") };
        assert_eq!(udp.payload(), b"hello");
        assert_eq!(
            udp.checksum(),
            udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap()
        );
    }

    #[test]
    fn lengths_are_those_of_the_whole_frame() {
        assert_eq!(Frame::mpls([100, 200]).vlan(5).length(9_018).build().len(), 9_018);
        assert_eq!(Frame::mpls([100]).cut(16).build().len(), 16);
        assert_eq!(Frame::new(IPV4).cut(1_000).build(), Frame::new(IPV4).build());
    }
}
