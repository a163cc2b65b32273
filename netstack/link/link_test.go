package link_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"

	"culvert/netstack/link"
	"culvert/netstack/netstacktest"
	"culvert/test/leak"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

func TestMain(m *testing.M) { leak.Main(m) }

var (
	src4, dst4 = netip.MustParseAddrPort("10.9.0.2:40000"), netip.MustParseAddrPort("203.0.113.7:80")
	src6, dst6 = netip.MustParseAddrPort("[fd09::2]:40000"), netip.MustParseAddrPort("[2001:db8::7]:80")
)

// script is a device that reads what it is given, then ends.
type script struct {
	frames []link.Frame
	end    error
	wrote  []byte
	header link.Header
	refuse error
}

func (s *script) Batch() int { return 3 }
func (s *script) MTU() int   { return 1500 }
func (s *script) Interrupt() {}

func (s *script) Read(into []link.Frame) (int, error) {
	n := min(len(into), len(s.frames))
	for i, f := range s.frames[:n] {
		into[i].Header, into[i].Len = f.Header, copy(into[i].Space, f.Space)
	}
	s.frames = s.frames[n:]
	if n == 0 {
		return 0, s.end
	}
	return n, nil
}

func (s *script) Write(h link.Header, views [][]byte) error {
	if s.refuse != nil {
		return s.refuse
	}
	s.header, s.wrote = h, bytes.Join(views, nil)
	return nil
}

// sink is a dispatcher that keeps what is delivered.
type sink struct {
	mu  sync.Mutex
	got [][]byte
	n   int
	all bool
}

func (s *sink) DeliverNetworkPacket(p tcpip.NetworkProtocolNumber, pkt *stack.PacketBuffer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	if s.all {
		v := pkt.ToView()
		defer v.Release()
		s.got = append(s.got, bytes.Clone(v.AsSlice()))
	}
}

func (s *sink) DeliverLinkPacket(tcpip.NetworkProtocolNumber, *stack.PacketBuffer) {}

// pump runs packets through an endpoint and returns what was delivered.
func pump(t *testing.T, h link.Header, packets ...[]byte) ([][]byte, link.Stats) {
	t.Helper()
	d := &script{end: link.ErrInterrupted}
	for _, b := range packets {
		d.frames = append(d.frames, link.Frame{Header: h, Space: b})
	}
	e := link.New(d)
	s := &sink{all: true}
	e.Attach(s)
	if err := e.Pump(); err != nil {
		t.Fatalf("Pump: %v", err)
	}
	return s.got, e.Stats()
}

func segment(src, dst netip.AddrPort, payload int) []byte {
	b := make([]byte, payload)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return netstacktest.Segment{Src: src, Dst: dst, Flags: header.TCPFlagAck, Payload: b}.Bytes()
}

func TestPacketsArriveWhole(t *testing.T) {
	for _, size := range []int{0, 1, 200, 256, 1460, 8 << 10, 9000, 65400} {
		for _, e := range [][2]netip.AddrPort{{src4, dst4}, {src6, dst6}} {
			want := segment(e[0], e[1], size)
			got, st := pump(t, link.Header{}, want, want, want, want, want)
			if len(got) != 5 || st.RxPackets != 5 || st.RxBytes != uint64(5*len(want)) {
				t.Fatalf("%d bytes to %s: %d packets, %+v", size, e[1], len(got), st)
			}
			for _, g := range got {
				if !bytes.Equal(g, want) {
					t.Errorf("%d bytes to %s: changed on the way", size, e[1])
				}
			}
		}
	}
}

// damage flips a bit at an offset.
func damage(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

func withExtension(b []byte, next byte, ext []byte) []byte {
	out := append(bytes.Clone(b[:header.IPv6MinimumSize]), ext...)
	out = append(out, b[header.IPv6MinimumSize:]...)
	out[6] = next
	binary.BigEndian.PutUint16(out[4:], uint16(len(out)-header.IPv6MinimumSize))
	return out
}

func TestChecks(t *testing.T) {
	tcp4, tcp6 := segment(src4, dst4, 100), segment(src6, dst6, 100)
	udp4, udp6 := netstacktest.UDP(src4, dst4, []byte("hello")), netstacktest.UDP(src6, dst6, []byte("hello"))
	echo4 := netstacktest.Echo(src4.Addr(), dst4.Addr(), 1, 1, []byte("ping"))
	echo6 := netstacktest.Echo(src6.Addr(), dst6.Addr(), 1, 1, []byte("ping"))
	noSum := bytes.Clone(udp4)
	noSum[26], noSum[27] = 0, 0
	noSum6 := bytes.Clone(udp6)
	noSum6[46], noSum6[47] = 0, 0
	options := []byte{uint8(header.TCPProtocolNumber), 0, 1, 4, 0, 0, 0, 0}
	fragment := []byte{uint8(header.TCPProtocolNumber), 0, 0, 1, 0, 0, 0, 1}
	const needs, valid = link.FlagNeedsChecksum, link.FlagDataValid
	type fate int
	const (
		delivered fate = iota
		checksum
		malformed
		unsupported
	)
	for _, c := range []struct {
		name string
		h    link.Header
		b    []byte
		want fate
	}{
		{"tcp4", link.Header{}, tcp4, delivered},
		{"tcp6", link.Header{}, tcp6, delivered},
		{"udp4", link.Header{}, udp4, delivered},
		{"udp6", link.Header{}, udp6, delivered},
		{"icmp4", link.Header{}, echo4, delivered},
		{"icmp6", link.Header{}, echo6, delivered},
		{"tcp4 damaged", link.Header{}, damage(tcp4, 60), checksum},
		{"tcp6 damaged", link.Header{}, damage(tcp6, 80), checksum},
		{"tcp6 address damaged", link.Header{}, damage(tcp6, 30), checksum},
		{"udp4 damaged", link.Header{}, damage(udp4, 30), checksum},
		{"udp6 damaged", link.Header{}, damage(udp6, 50), checksum},
		{"icmp4 damaged", link.Header{}, damage(echo4, 30), checksum},
		{"icmp6 damaged", link.Header{}, damage(echo6, 50), checksum},
		{"partial sum", link.Header{Flags: needs}, damage(tcp4, 60), delivered},
		{"sum found valid before", link.Header{Flags: valid}, damage(tcp6, 80), delivered},
		{"header of trusted packet damaged", link.Header{Flags: needs}, damage(tcp4, 8), checksum},
		{"udp4 without sum", link.Header{}, noSum, delivered},
		{"udp6 without sum", link.Header{}, noSum6, checksum},
		{"behind options", link.Header{}, withExtension(tcp6, 0, options), delivered},
		{"damaged behind options", link.Header{}, damage(withExtension(tcp6, 60, options), 88), checksum},
		{"fragment", link.Header{}, damage(withExtension(tcp6, 44, fragment), 88), delivered},
		{"trailing bytes", link.Header{}, append(bytes.Clone(tcp4), 1, 2, 3), delivered},
		{"superpacket", link.Header{Flags: needs, GSOType: link.GSOTCPv4}, tcp4, delivered},
		{"superpacket with ecn", link.Header{Flags: needs, GSOType: link.GSOTCPv6 | 0x80}, tcp6, delivered},
		{"udp superpacket", link.Header{Flags: needs, GSOType: 5}, udp4, unsupported},
		{"nothing", link.Header{}, nil, malformed},
		{"no version", link.Header{}, make([]byte, 60), malformed},
		{"cut in ip header", link.Header{}, tcp4[:19], malformed},
		{"cut in ipv6 header", link.Header{}, tcp6[:39], malformed},
		{"shorter than it says", link.Header{}, tcp4[:len(tcp4)-1], malformed},
		{"shorter than it says, ipv6", link.Header{}, tcp6[:len(tcp6)-1], malformed},
		{"tcp without header", link.Header{}, netstacktest.IP(src4.Addr(), dst4.Addr(), 6, make([]byte, 8)), checksum},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, st := pump(t, c.h, c.b)
			fates := map[fate]uint64{
				delivered: uint64(len(got)), checksum: st.RxChecksum,
				malformed: st.RxMalformed, unsupported: st.RxUnsupported,
			}
			for f, n := range fates {
				if (f == c.want) != (n == 1) {
					t.Fatalf("want %d once, got %v", c.want, fates)
				}
			}
			if c.want == delivered && !bytes.Equal(got[0], c.b) {
				t.Error("changed on the way")
			}
		})
	}
}

func TestDeviceEnds(t *testing.T) {
	broken := errors.New("descriptor in bad state")
	e := link.New(&script{end: broken, frames: []link.Frame{{Space: segment(src4, dst4, 1)}}})
	if err := e.Pump(); !errors.Is(err, broken) {
		t.Errorf("Pump: %v", err)
	}
	if st := e.Stats(); st.RxUnattached != 1 {
		t.Errorf("stats %+v", st)
	}
}

// send writes one packet of the stack's through an endpoint.
func send(e *link.Endpoint, gso stack.GSO, hdr, payload []byte) {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: len(hdr) + 20, Payload: buffer.MakeWithData(payload),
	})
	copy(pkt.NetworkHeader().Push(len(hdr)), hdr)
	pkt.GSOOptions = gso
	var l stack.PacketBufferList
	l.PushBack(pkt)
	e.WritePackets(l)
	pkt.DecRef()
}

func TestWriteHeaders(t *testing.T) {
	const mss = 1448
	for _, c := range []struct {
		name    string
		gso     stack.GSO
		payload int
		want    link.Header
	}{
		{"complete sum", stack.GSO{}, 100, link.Header{}},
		{"one segment", stack.GSO{Type: stack.GSOTCPv4, NeedsCsum: true, L3HdrLen: 20, CsumOffset: 16, MSS: mss}, mss,
			link.Header{Flags: link.FlagNeedsChecksum, ChecksumStart: 20, ChecksumOffset: 16}},
		{"superpacket", stack.GSO{Type: stack.GSOTCPv4, NeedsCsum: true, L3HdrLen: 20, CsumOffset: 16, MSS: mss}, 60000,
			link.Header{Flags: link.FlagNeedsChecksum, ChecksumStart: 20, ChecksumOffset: 16, GSOType: link.GSOTCPv4, GSOSize: mss, HeaderLen: 52}},
		{"superpacket v6", stack.GSO{Type: stack.GSOTCPv6, NeedsCsum: true, L3HdrLen: 40, CsumOffset: 16, MSS: mss}, mss + 1,
			link.Header{Flags: link.FlagNeedsChecksum, ChecksumStart: 40, ChecksumOffset: 16, GSOType: link.GSOTCPv6, GSOSize: mss, HeaderLen: 52}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &script{}
			hdr, payload := bytes.Repeat([]byte{1}, 52), bytes.Repeat([]byte{2}, c.payload)
			send(link.New(d), c.gso, hdr, payload)
			if d.header != c.want {
				t.Errorf("header %+v, want %+v", d.header, c.want)
			}
			if !bytes.Equal(d.wrote, append(hdr, payload...)) {
				t.Error("bytes changed on the way")
			}
		})
	}
}

func TestLostWritesAreCounted(t *testing.T) {
	d := &script{refuse: link.ErrWouldBlock}
	e := link.New(d)
	send(e, stack.GSO{}, []byte{1}, []byte{2})
	d.refuse = errors.New("link is down")
	send(e, stack.GSO{}, []byte{1}, []byte{2})
	if st := e.Stats(); st.TxFull != 1 || st.TxFailed != 1 || st.TxPackets != 0 {
		t.Errorf("stats %+v", st)
	}
}

// Packets may come in any shape; none may panic or be delivered half.
func FuzzReceive(f *testing.F) {
	for _, b := range [][]byte{
		segment(src4, dst4, 10), segment(src6, dst6, 300), netstacktest.UDP(src4, dst4, nil),
		withExtension(segment(src6, dst6, 10), 0, make([]byte, 8)),
	} {
		for _, n := range []int{len(b), len(b) - 1, 20, 1} {
			f.Add(uint8(1), uint8(0), b[:n])
		}
	}
	f.Fuzz(func(t *testing.T, flags, gso uint8, b []byte) {
		if len(b) > link.FrameSize {
			return
		}
		got, st := pump(t, link.Header{Flags: flags, GSOType: gso}, b)
		if uint64(len(got))+st.RxMalformed+st.RxChecksum+st.RxUnsupported != 1 {
			t.Fatalf("one packet, %d delivered, %+v", len(got), st)
		}
		if len(got) == 1 && !bytes.Equal(got[0], b) {
			t.Fatal("changed on the way")
		}
	})
}

// endless is a device that reads the same packet n times.
type endless struct {
	script
	packet []byte
	left   int
}

func (d *endless) Read(into []link.Frame) (int, error) {
	n := min(len(into), d.left)
	for i := range n {
		into[i].Header = link.Header{Flags: link.FlagNeedsChecksum}
		into[i].Len = copy(into[i].Space, d.packet)
	}
	if d.left -= n; n == 0 {
		return 0, link.ErrInterrupted
	}
	return n, nil
}

func sizes() map[string]int { return map[string]int{"ack": 0, "mtu": 1448, "super": 64000} }

func TestAllocations(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it would empty the pools
	for name, size := range sizes() {
		t.Run(name, func(t *testing.T) {
			const n = 5000
			run := func() {
				e := link.New(&endless{packet: segment(src4, dst4, size), left: n})
				e.Attach(&sink{})
				if err := e.Pump(); err != nil {
					t.Fatal(err)
				}
			}
			run()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			run()
			runtime.ReadMemStats(&after)
			if per := float64(after.Mallocs-before.Mallocs) / n; per > allocsPerPacket {
				t.Errorf("%.3f allocations a packet", per)
			}
		})
	}
}

func BenchmarkReceive(b *testing.B) {
	for name, size := range sizes() {
		b.Run(name, func(b *testing.B) {
			p := segment(src4, dst4, size)
			e := link.New(&endless{packet: p, left: b.N})
			e.Attach(&sink{})
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			b.ResetTimer()
			if err := e.Pump(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
