package netstacktest

import (
	"net/netip"
	"testing"
	"time"

	"culvert/netstack/link"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

// Wire sends and reads single packets at one end of a pair.
type Wire struct {
	t      testing.TB
	device *Device
}

// NewWire takes an end of a pair that nothing else reads.
func NewWire(t testing.TB, d *Device) *Wire { return &Wire{t, d} }

// Send puts a packet on the wire as one that came over a network: without
// offloads, its checksums to be believed only after a look.
func (w *Wire) Send(b []byte) { w.SendFrame(link.Header{}, b) }

// SendFrame sends a packet with its virtio header.
func (w *Wire) SendFrame(h link.Header, b []byte) {
	w.t.Helper()
	if err := w.device.Write(h, [][]byte{b}); err != nil {
		w.t.Fatalf("send: %v", err)
	}
}

// Next waits for a packet.
func (w *Wire) Next() Packet {
	w.t.Helper()
	select {
	case f := <-w.device.in:
		return Parse(f.bytes)
	case <-time.After(patience):
		w.t.Fatal("no packet came")
		return Packet{}
	}
}

// Pending is how many packets wait to be read.
func (w *Wire) Pending() int { return len(w.device.in) }

// Packet is what a test wants to know of one.
type Packet struct {
	Src, Dst netip.AddrPort // ports 0 of ICMP
	Protocol tcpip.TransportProtocolNumber
	// of TCP
	Flags    header.TCPFlags
	Seq, Ack uint32
	// of ICMP: Quoted is the packet an error is about.
	Type, Code uint8
	Quoted     *Packet
	Payload    []byte // behind the TCP or ICMP header
	// ChecksumOK is of ICMP alone: TCP's may be left to the device.
	ChecksumOK bool
}

// Parse reads an IP packet; of one that is cut short it reads what is there.
func Parse(b []byte) Packet {
	var p Packet
	var src, dst tcpip.Address
	switch header.IPVersion(b) {
	case header.IPv4Version:
		h := header.IPv4(b)
		p.Protocol, src, dst = h.TransportProtocol(), h.SourceAddress(), h.DestinationAddress()
		b = b[h.HeaderLength():]
	case header.IPv6Version:
		h := header.IPv6(b)
		p.Protocol, src, dst = h.TransportProtocol(), h.SourceAddress(), h.DestinationAddress()
		b = b[header.IPv6MinimumSize:]
	default:
		return p
	}
	p.Src, p.Dst = netip.AddrPortFrom(addr(src), 0), netip.AddrPortFrom(addr(dst), 0)
	switch p.Protocol {
	case header.TCPProtocolNumber:
		h := header.TCP(b)
		p.Src = netip.AddrPortFrom(addr(src), h.SourcePort())
		p.Dst = netip.AddrPortFrom(addr(dst), h.DestinationPort())
		p.Flags, p.Seq, p.Ack = h.Flags(), h.SequenceNumber(), h.AckNumber()
		p.Payload = b[min(len(b), int(h.DataOffset())):]
	case header.ICMPv4ProtocolNumber:
		p.ChecksumOK = checksum.Checksum(b, 0) == 0xffff
		p.icmp(b, b[0] == uint8(header.ICMPv4DstUnreachable))
	case header.ICMPv6ProtocolNumber:
		sum := header.PseudoHeaderChecksum(header.ICMPv6ProtocolNumber, src, dst, uint16(len(b)))
		p.ChecksumOK = checksum.Checksum(b, sum) == 0xffff
		p.icmp(b, b[0] == uint8(header.ICMPv6DstUnreachable))
	}
	return p
}

func (p *Packet) icmp(b []byte, isError bool) {
	p.Type, p.Code, p.Payload = b[0], b[1], b[8:]
	if isError {
		q := Parse(p.Payload)
		p.Quoted = &q
	}
}

func addr(a tcpip.Address) netip.Addr {
	ip, _ := netip.AddrFromSlice(a.AsSlice())
	return ip
}

// Segment is a TCP packet to be made.
type Segment struct {
	Src, Dst netip.AddrPort
	Flags    header.TCPFlags
	Seq, Ack uint32
	Payload  []byte
	// BadChecksum makes the TCP checksum wrong.
	BadChecksum bool
}

// SYN is the segment that begins a connect.
func SYN(src, dst netip.AddrPort, isn uint32) Segment {
	return Segment{Src: src, Dst: dst, Seq: isn, Flags: header.TCPFlagSyn}
}

// Bytes makes the packet, IPv4 or IPv6 by its addresses.
func (s Segment) Bytes() []byte {
	tcp := make([]byte, header.TCPMinimumSize+len(s.Payload))
	copy(tcp[header.TCPMinimumSize:], s.Payload)
	h := header.TCP(tcp)
	h.Encode(&header.TCPFields{
		SrcPort: s.Src.Port(), DstPort: s.Dst.Port(), SeqNum: s.Seq, AckNum: s.Ack,
		DataOffset: header.TCPMinimumSize, Flags: s.Flags, WindowSize: 65535,
	})
	src, dst := tcpip.AddrFromSlice(s.Src.Addr().AsSlice()), tcpip.AddrFromSlice(s.Dst.Addr().AsSlice())
	sum := header.PseudoHeaderChecksum(header.TCPProtocolNumber, src, dst, uint16(len(tcp)))
	h.SetChecksum(^checksum.Checksum(tcp, sum))
	if s.BadChecksum {
		h.SetChecksum(h.Checksum() + 1)
	}
	return IP(s.Src.Addr(), s.Dst.Addr(), header.TCPProtocolNumber, tcp)
}

// IP puts an IP header before a payload.
func IP(src, dst netip.Addr, protocol tcpip.TransportProtocolNumber, payload []byte) []byte {
	s, d := tcpip.AddrFromSlice(src.AsSlice()), tcpip.AddrFromSlice(dst.AsSlice())
	if src.Is4() {
		b := make([]byte, header.IPv4MinimumSize, header.IPv4MinimumSize+len(payload))
		h := header.IPv4(b)
		h.Encode(&header.IPv4Fields{
			TotalLength: uint16(cap(b)), TTL: 64, Protocol: uint8(protocol), SrcAddr: s, DstAddr: d,
		})
		h.SetChecksum(^h.CalculateChecksum())
		return append(b, payload...)
	}
	b := make([]byte, header.IPv6MinimumSize, header.IPv6MinimumSize+len(payload))
	header.IPv6(b).Encode(&header.IPv6Fields{
		PayloadLength: uint16(len(payload)), TransportProtocol: protocol, HopLimit: 64, SrcAddr: s, DstAddr: d,
	})
	return append(b, payload...)
}

// UDP is a datagram.
func UDP(src, dst netip.AddrPort, payload []byte) []byte {
	b := make([]byte, header.UDPMinimumSize+len(payload))
	copy(b[header.UDPMinimumSize:], payload)
	h := header.UDP(b)
	h.Encode(&header.UDPFields{SrcPort: src.Port(), DstPort: dst.Port(), Length: uint16(len(b))})
	s, d := tcpip.AddrFromSlice(src.Addr().AsSlice()), tcpip.AddrFromSlice(dst.Addr().AsSlice())
	h.SetChecksum(^checksum.Checksum(b, header.PseudoHeaderChecksum(header.UDPProtocolNumber, s, d, uint16(len(b)))))
	return IP(src.Addr(), dst.Addr(), header.UDPProtocolNumber, b)
}

// Echo is an echo request, ICMPv4 or ICMPv6.
func Echo(src, dst netip.Addr, ident, seq uint16, payload []byte) []byte {
	b := make([]byte, header.ICMPv4MinimumSize+len(payload))
	copy(b[header.ICMPv4MinimumSize:], payload)
	b[4], b[5], b[6], b[7] = byte(ident>>8), byte(ident), byte(seq>>8), byte(seq)
	if src.Is4() {
		h := header.ICMPv4(b)
		h.SetType(header.ICMPv4Echo)
		h.SetChecksum(^checksum.Checksum(b, 0))
		return IP(src, dst, header.ICMPv4ProtocolNumber, b)
	}
	h := header.ICMPv6(b)
	h.SetType(header.ICMPv6EchoRequest)
	s, d := tcpip.AddrFromSlice(src.AsSlice()), tcpip.AddrFromSlice(dst.AsSlice())
	h.SetChecksum(^checksum.Checksum(b, header.PseudoHeaderChecksum(header.ICMPv6ProtocolNumber, s, d, uint16(len(b)))))
	return IP(src, dst, header.ICMPv6ProtocolNumber, b)
}
