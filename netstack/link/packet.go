package link

import (
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// packet is what must be known of a packet before the stack may have it.
type packet struct {
	protocol  tcpip.NetworkProtocolNumber
	transport tcpip.TransportProtocolNumber // 0: not to be looked into (a fragment, an unknown header)
	start     int                           // of the transport header, from the first byte
	end       int                           // of the IP packet; the frame may be longer
	headerLen int                           // IP and TCP header; 0 if it is not whole TCP
}

// parse reads as far as lengths and checksums need. False: the packet
// contradicts itself. The stack checks everything else.
func parse(b []byte) (packet, bool) {
	p := packet{protocol: protocolOf(b)}
	ok := false
	switch p.protocol {
	case header.IPv4ProtocolNumber:
		ok = p.parseIPv4(b)
	case header.IPv6ProtocolNumber:
		ok = p.parseIPv6(b)
	}
	if !ok {
		return packet{}, false
	}
	if p.transport == header.TCPProtocolNumber && p.end-p.start >= header.TCPMinimumSize {
		if n := int(header.TCP(b[p.start:p.end]).DataOffset()); n >= header.TCPMinimumSize && p.start+n <= p.end {
			p.headerLen = p.start + n
		}
	}
	return p, true
}

func (p *packet) parseIPv4(b []byte) bool {
	h := header.IPv4(b)
	if len(b) < header.IPv4MinimumSize {
		return false
	}
	p.start, p.end = int(h.HeaderLength()), int(h.TotalLength())
	if p.start < header.IPv4MinimumSize || p.start > p.end || p.end > len(b) {
		return false
	}
	if h.FragmentOffset() == 0 && !h.More() {
		p.transport = h.TransportProtocol()
	}
	return true
}

func (p *packet) parseIPv6(b []byte) bool {
	h := header.IPv6(b)
	if len(b) < header.IPv6MinimumSize {
		return false
	}
	p.start, p.end = header.IPv6MinimumSize, header.IPv6MinimumSize+int(h.PayloadLength())
	if p.end > len(b) {
		return false
	}
	p.transport = p.skipExtensions(b, h.NextHeader())
	return true
}

// skipExtensions walks over the extension headers that carry a length of the
// common form (RFC 8200 §4.3, §4.4, §4.6) and returns the transport protocol;
// 0 behind a fragment header or one that is cut short.
func (p *packet) skipExtensions(b []byte, next uint8) tcpip.TransportProtocolNumber {
	for {
		switch header.IPv6ExtensionHeaderIdentifier(next) {
		case header.IPv6HopByHopOptionsExtHdrIdentifier, header.IPv6RoutingExtHdrIdentifier,
			header.IPv6DestinationOptionsExtHdrIdentifier:
			if p.start+8 > p.end {
				return 0
			}
			next = b[p.start]
			p.start += 8 + 8*int(b[p.start+1])
			if p.start > p.end {
				p.start = p.end
				return 0
			}
		case header.IPv6FragmentExtHdrIdentifier:
			return 0
		default:
			return tcpip.TransportProtocolNumber(next)
		}
	}
}

// headerChecksumOK verifies the checksum of the IPv4 header, always: it is a
// few nanoseconds, and the stack no longer does it once receive offload is
// claimed.
func (p *packet) headerChecksumOK(b []byte) bool {
	return p.protocol != header.IPv4ProtocolNumber || checksum.Checksum(b[:ipv4HeaderLen(b)], 0) == 0xffff
}

func ipv4HeaderLen(b []byte) int { return int(header.IPv4(b).HeaderLength()) }

// checksumOK verifies the transport checksum. A fragment carries none that can
// be checked before it is joined; of a protocol that is not known here none is
// demanded.
func (p *packet) checksumOK(b []byte) bool {
	payload := b[p.start:p.end]
	switch p.transport {
	case header.TCPProtocolNumber:
		return len(payload) >= header.TCPMinimumSize && p.sumOK(b, payload)
	case header.UDPProtocolNumber:
		if len(payload) < header.UDPMinimumSize {
			return false
		}
		// RFC 768: zero means that the sender made none; not allowed with
		// IPv6 (RFC 8200 §8.1), where the sum of a zero field is then wrong.
		if p.protocol == header.IPv4ProtocolNumber && header.UDP(payload).Checksum() == 0 {
			return true
		}
		return p.sumOK(b, payload)
	case header.ICMPv6ProtocolNumber:
		return p.protocol != header.IPv6ProtocolNumber || p.sumOK(b, payload)
	case header.ICMPv4ProtocolNumber:
		return p.protocol != header.IPv4ProtocolNumber || checksum.Checksum(payload, 0) == 0xffff
	}
	return true
}

// isSYN reports whether the packet begins a connection.
func (p *packet) isSYN(b []byte) bool {
	const mask = header.TCPFlagSyn | header.TCPFlagAck | header.TCPFlagRst
	return p.headerLen != 0 && header.TCP(b[p.start:]).Flags()&mask == header.TCPFlagSyn
}

// id is the packet's endpoint in the stack; it must be whole TCP.
func (p *packet) id(b []byte) stack.TransportEndpointID {
	h := header.TCP(b[p.start:])
	src, dst := p.addresses(b)
	return stack.TransportEndpointID{
		LocalAddress: dst, LocalPort: h.DestinationPort(), RemoteAddress: src, RemotePort: h.SourcePort(),
	}
}

func (p *packet) addresses(b []byte) (src, dst tcpip.Address) {
	if p.protocol == header.IPv4ProtocolNumber {
		return header.IPv4(b).SourceAddress(), header.IPv4(b).DestinationAddress()
	}
	return header.IPv6(b).SourceAddress(), header.IPv6(b).DestinationAddress()
}

// sumOK adds payload to the pseudo header. With a routing header the final
// destination belongs there instead of the current one (RFC 8200 §8.1); such
// packets are not accepted by the stack anyway.
func (p *packet) sumOK(b, payload []byte) bool {
	src, dst := p.addresses(b)
	sum := header.PseudoHeaderChecksum(p.transport, src, dst, uint16(len(payload)))
	return checksum.Checksum(payload, sum) == 0xffff
}
