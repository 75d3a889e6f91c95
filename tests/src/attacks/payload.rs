//! What legitimate frames carry: real packets, byte for byte.

use etherparse::{
    IpHeaders, Ipv4Extensions, Ipv4Header, Ipv4Options, PacketBuilder, PacketBuilderStep, ip_number,
};

/// UDP port of LSP ping (RFC 8029 §4.1).
const LSP_PING: u16 = 3_503;
/// UDP port of BFD for MPLS LSPs (RFC 5884 §7).
const BFD: u16 = 3_784;
/// Router alert in an IPv4 header (RFC 2113): look at this packet, whatever its destination.
const ROUTER_ALERT_OPTION: [u8; 4] = [0x94, 0x04, 0x00, 0x00];

/// An associated channel header (RFC 4385 §5, RFC 5586 §2) for this type of channel.
pub fn channel(kind: u16) -> [u8; 4] {
    let [high, low] = kind.to_be_bytes();
    [0x10, 0x00, high, low]
}

/// An LSP ping (RFC 8029 §3, §4.3): UDP to 127/8 with IP TTL 1 and the router alert option.
pub fn lsp_ping() -> Vec<u8> {
    // Version 1, echo request, reply by UDP; then handle, sequence number and two timestamps.
    let mut echo = vec![0, 1, 0, 0, 1, 2, 0, 0];
    echo.extend([0, 0, 0, 7, 0, 0, 0, 1]);
    echo.extend([0; 16]);
    // Target FEC stack with an LDP IPv4 prefix, 198.51.100.1/32.
    echo.extend([0, 1, 0, 12, 0, 1, 0, 5, 198, 51, 100, 1, 32, 0, 0, 0]);
    let options = Ipv4Options::from(ROUTER_ALERT_OPTION);
    datagram(loopback(options), LSP_PING, &echo)
}

/// A BFD control packet of an LSP (RFC 5884 §7): UDP to 127/8 with IP TTL 1.
pub fn bfd() -> Vec<u8> {
    let mut control = vec![0x20, 0x48, 3, 24];
    control.extend([0, 0, 0, 1, 0, 0, 0, 0]);
    control.extend([0, 15, 66, 64, 0, 15, 66, 64, 0, 0, 0, 0]);
    datagram(loopback(Ipv4Options::new()), BFD, &control)
}

/// An IPv6 packet with a UDP datagram.
pub fn ipv6() -> Vec<u8> {
    let (source, destination) = (documentation(1), documentation(2));
    write(PacketBuilder::ipv6(source, destination, 64).udp(49_152, 9), b"six")
}

/// What customers of a pseudowire send each other: an Ethernet frame with a VLAN and IPv4 in it.
pub fn ethernet(destination: [u8; 6]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([0x02, 0, 0x5e, 0x10, 0, 0x09], destination)
        .single_vlan(etherparse::VlanId::try_new(7).expect("7 is a VLAN ID"))
        .ipv4([192, 0, 2, 9], [198, 51, 100, 9], 64)
        .udp(49_152, 9);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"inside a pseudowire").expect("a vector takes everything");
    frame
}

fn loopback(options: Ipv4Options) -> IpHeaders {
    let header = Ipv4Header {
        time_to_live: 1,
        source: [192, 0, 2, 1],
        destination: [127, 0, 0, 1],
        protocol: ip_number::UDP,
        options,
        ..Ipv4Header::default()
    };
    IpHeaders::Ipv4(header, Ipv4Extensions::default())
}

fn datagram(ip: IpHeaders, port: u16, data: &[u8]) -> Vec<u8> {
    write(PacketBuilder::ip(ip).udp(49_152, port), data)
}

fn write(builder: PacketBuilderStep<etherparse::UdpHeader>, data: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(builder.size(data.len()));
    builder.write(&mut packet, data).expect("a vector takes everything");
    packet
}

/// An address that documents and nobody else use (RFC 3849).
fn documentation(last: u8) -> [u8; 16] {
    [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    use super::*;

    #[test]
    fn an_lsp_ping_is_a_right_packet_with_router_alert() {
        let bytes = lsp_ping();
        let packet = SlicedPacket::from_ip(&bytes).unwrap();
        let Some(NetSlice::Ipv4(ipv4)) = packet.net else { panic!("not IPv4") };
        let header = ipv4.header().to_header();
        assert_eq!(header.options.as_slice(), ROUTER_ALERT_OPTION);
        assert_eq!((header.destination, header.time_to_live), ([127, 0, 0, 1], 1));
        assert_eq!(header.header_checksum, header.calc_header_checksum());
        let Some(TransportSlice::Udp(udp)) = packet.transport else { panic!("no UDP") };
        assert_eq!(udp.destination_port(), 3_503);
        let right = udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap();
        assert_eq!(udp.checksum(), right);
    }

    #[test]
    fn the_other_packets_are_right_ones() {
        assert!(SlicedPacket::from_ip(&bfd()).unwrap().transport.is_some());
        assert!(SlicedPacket::from_ip(&ipv6()).unwrap().transport.is_some());
        let frame = ethernet([2; 6]);
        assert_eq!(SlicedPacket::from_ethernet(&frame).unwrap().vlan_ids()[0].value(), 7);
        assert_eq!(channel(0x0021), [0x10, 0x00, 0x00, 0x21]);
    }
}
