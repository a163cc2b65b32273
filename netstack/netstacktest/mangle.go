package netstacktest

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"culvert/netstack/link"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// Mangler makes malformed packets of valid ones: the same ones from the same seed.
// They come from 198.51.100.0/24 and 2001:db8:bad::/112, so that they belong to
// no flow of a test's own.
type Mangler struct {
	rnd   *rand.Rand
	seeds [][]byte
}

// NewMangler makes one whose packets go to some addresses, an IPv4 and an IPv6
// one at least.
func NewMangler(seed uint64, to ...netip.AddrPort) *Mangler {
	m := &Mangler{rnd: rand.New(rand.NewPCG(seed, 0))}
	for _, dst := range to {
		src := netip.MustParseAddrPort("198.51.100.7:5555")
		if dst.Addr().Is6() {
			src = netip.MustParseAddrPort("[2001:db8:bad::7]:5555")
		}
		syn := SYN(src, dst, 1)
		data := Segment{Src: src, Dst: dst, Flags: header.TCPFlagAck | header.TCPFlagPsh, Payload: make([]byte, 300)}
		reset := Segment{Src: src, Dst: dst, Flags: header.TCPFlagRst}
		m.seeds = append(m.seeds, syn.Bytes(), syn.Bytes(), data.Bytes(), reset.Bytes(),
			optioned(src, dst), UDP(src, dst, make([]byte, 40)), Echo(src.Addr(), dst.Addr(), 1, 2, make([]byte, 40)))
	}
	return m
}

// optioned is a SYN with room for options: 40 bytes of them.
func optioned(src, dst netip.AddrPort) []byte {
	s := SYN(src, dst, 1)
	s.Payload = make([]byte, header.TCPOptionsMaximumSize)
	b := s.Bytes()
	b[transportOf(b)+header.TCPDataOffset] = 15 << 4
	return b
}

// Next is another packet with its virtio header. Now and then nothing is wrong
// with it but its addresses.
func (m *Mangler) Next() (link.Header, []byte) {
	b := bytes.Clone(m.seeds[m.rnd.IntN(len(m.seeds))])
	m.addresses(b)
	for range 1 + m.rnd.IntN(3) {
		b = m.damage(b)
	}
	if m.rnd.IntN(3) > 0 { // else it would not come far
		mend(b)
	}
	return m.header(len(b)), b
}

// addresses makes each packet another flow's.
func (m *Mangler) addresses(b []byte) {
	binary.BigEndian.PutUint16(b[transportOf(b):], uint16(1+m.rnd.IntN(65535)))
	if header.IPVersion(b) == header.IPv4Version {
		b[15] = byte(m.rnd.Uint32())
		return
	}
	b[23] = byte(m.rnd.Uint32())
}

// damage does one kind of harm.
func (m *Mangler) damage(b []byte) []byte {
	if len(b) < header.IPv4MinimumSize {
		return b
	}
	switch m.rnd.IntN(7) {
	case 0: // anything, where the headers are
		b[m.rnd.IntN(min(len(b), 100))] = byte(m.rnd.Uint32())
	case 1: // cut short
		return b[:m.rnd.IntN(len(b))]
	case 2: // too long
		return append(b, make([]byte, m.rnd.IntN(2000))...)
	case 3:
		m.lengths(b)
	case 4:
		m.options(b)
	case 5:
		return m.fragment(b)
	case 6:
		return m.extensions(b)
	}
	return b
}

// lengths makes a length field say something else.
func (m *Mangler) lengths(b []byte) {
	v := [...]uint16{0, 1, 7, 19, 20, 21, uint16(len(b)) - 1, uint16(len(b)) + 1, 0x7fff, 0xffff, uint16(m.rnd.Uint32())}
	length := v[m.rnd.IntN(len(v))]
	at := transportOf(b)
	switch m.rnd.IntN(4) {
	case 0:
		if header.IPVersion(b) == header.IPv4Version {
			binary.BigEndian.PutUint16(b[2:], length)
			return
		}
		binary.BigEndian.PutUint16(b[4:], length)
	case 1: // the IPv4 header's, a nibble
		b[0] = b[0]&0xf0 | byte(length)&0xf
	case 2: // TCP's header's
		if at+header.TCPDataOffset < len(b) {
			b[at+header.TCPDataOffset] = byte(length) << 4
		}
	case 3: // UDP's
		if at+6 <= len(b) {
			binary.BigEndian.PutUint16(b[at+4:], length)
		}
	}
}

// options fills what is behind the TCP header with options of absurd lengths.
func (m *Mangler) options(b []byte) {
	at := transportOf(b) + header.TCPMinimumSize
	kinds := [...]byte{0, 1, 2, 3, 4, 5, 8, 30, 34, 254, 255}
	for at+1 < len(b) {
		b[at], b[at+1] = kinds[m.rnd.IntN(len(kinds))], byte(m.rnd.Uint32())>>m.rnd.IntN(8)
		at += 2 + m.rnd.IntN(4)
	}
}

// fragment makes a part of it: parts of few datagrams, so that they overlap.
func (m *Mangler) fragment(b []byte) []byte {
	offset := [...]uint16{0, 0, 1, 2, 3, 0x1fff, uint16(m.rnd.IntN(64))}[m.rnd.IntN(7)]
	more := uint16(m.rnd.IntN(2))
	if header.IPVersion(b) == header.IPv4Version {
		binary.BigEndian.PutUint16(b[4:], uint16(m.rnd.IntN(4)))
		binary.BigEndian.PutUint16(b[6:], more<<13|offset)
		b[15] = 7
		return b
	}
	if len(b) < header.IPv6MinimumSize {
		return b
	}
	ext := make([]byte, 8)
	ext[0] = b[6]
	binary.BigEndian.PutUint16(ext[2:], offset<<3|more)
	ext[7] = byte(m.rnd.IntN(4))
	b[23] = 7
	return extended(b, uint8(header.IPv6FragmentExtHdrIdentifier), ext)
}

// extensions puts headers before an IPv6 packet's transport that lie about their
// lengths, or very many of them.
func (m *Mangler) extensions(b []byte) []byte {
	if header.IPVersion(b) != header.IPv6Version || len(b) < header.IPv6MinimumSize {
		return b
	}
	kinds := [...]uint8{0, 43, 60, 44, 50, 51, 59, 135, uint8(m.rnd.Uint32())}
	for range 1 + m.rnd.IntN(4)*m.rnd.IntN(8) {
		ext := make([]byte, 8)
		for i := range ext {
			ext[i] = byte(m.rnd.Uint32()) >> m.rnd.IntN(8)
		}
		ext[0] = b[6]
		if m.rnd.IntN(3) > 0 {
			ext[1] = 0
		}
		b = extended(b, kinds[m.rnd.IntN(len(kinds))], ext)
	}
	return b
}

// extended is an IPv6 packet with a header more.
func extended(b []byte, kind uint8, ext []byte) []byte {
	out := append(bytes.Clone(b[:header.IPv6MinimumSize]), ext...)
	out = append(out, b[header.IPv6MinimumSize:]...)
	out[6] = kind
	binary.BigEndian.PutUint16(out[4:], uint16(len(out)-header.IPv6MinimumSize))
	return out
}

// header is a virtio header that need not be true.
func (m *Mangler) header(size int) link.Header {
	if m.rnd.IntN(3) == 0 {
		return link.Header{}
	}
	v := [...]uint16{0, 1, 19, 20, 40, 54, 1448, uint16(size), uint16(size) + 1, 0xffff, uint16(m.rnd.Uint32())}
	any := func() uint16 { return v[m.rnd.IntN(len(v))] }
	types := [...]uint8{link.GSONone, link.GSONone, link.GSOTCPv4, link.GSOTCPv6, 3, 5, 0x81, 0x84, uint8(m.rnd.Uint32())}
	return link.Header{
		Flags: uint8(m.rnd.IntN(4)), GSOType: types[m.rnd.IntN(len(types))],
		HeaderLen: any(), GSOSize: any(), ChecksumStart: any(), ChecksumOffset: any(),
	}
}

// mend makes the checksums right again, as far as the packet lets that.
func mend(b []byte) {
	at := transportOf(b)
	var src, dst tcpip.Address
	var protocol tcpip.TransportProtocolNumber
	switch v := header.IPVersion(b); {
	case at > len(b) || v == header.IPv6Version && at != header.IPv6MinimumSize || at < header.IPv4MinimumSize:
		return
	case v == header.IPv4Version:
		h := header.IPv4(b)
		h.SetChecksum(0)
		h.SetChecksum(^checksum.Checksum(b[:at], 0))
		src, dst, protocol = h.SourceAddress(), h.DestinationAddress(), h.TransportProtocol()
	case v == header.IPv6Version:
		h := header.IPv6(b)
		src, dst, protocol = h.SourceAddress(), h.DestinationAddress(), h.TransportProtocol()
	default:
		return
	}
	where := map[tcpip.TransportProtocolNumber]int{
		header.TCPProtocolNumber: 16, header.UDPProtocolNumber: 6, header.ICMPv4ProtocolNumber: 2, header.ICMPv6ProtocolNumber: 2,
	}
	field, known := where[protocol]
	if !known || at+field+2 > len(b) {
		return
	}
	sum := uint16(0)
	if protocol != header.ICMPv4ProtocolNumber {
		sum = header.PseudoHeaderChecksum(protocol, src, dst, uint16(len(b)-at))
	}
	binary.BigEndian.PutUint16(b[at+field:], 0)
	binary.BigEndian.PutUint16(b[at+field:], ^checksum.Checksum(b[at:], sum))
}

// transportOf is where the transport header begins, if the packet is honest.
func transportOf(b []byte) int {
	if len(b) >= header.IPv6MinimumSize && header.IPVersion(b) == header.IPv6Version {
		return header.IPv6MinimumSize
	}
	if len(b) < header.IPv4MinimumSize {
		return len(b)
	}
	return max(header.IPv4MinimumSize, int(header.IPv4(b).HeaderLength()))
}
