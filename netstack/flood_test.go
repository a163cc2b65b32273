package netstack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"culvert/netstack/link"
	"culvert/netstack/netstacktest"
	"culvert/proxy/network"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// sendSlowly sends the nth packet and now and then waits until they are read,
// as a TUN makes its writers do.
func (r *rig) sendSlowly(n uint64, h link.Header, b []byte) {
	r.t.Helper()
	r.wire.SendFrame(h, b)
	if n%1000 == 0 {
		eventually(r.t, "the stack to keep up", func() bool { return r.stack.Stats().Link.RxPackets >= n })
		for r.wire.Pending() > 0 {
			r.wire.Next()
		}
	}
}

// A flood of SYNs from everywhere holds no more than its bounds, and another
// connection goes on.
func TestSYNFlood(t *testing.T) {
	const syns, pending = 60000, 500
	r := newRig(t, func(c *Config, _ *Deps) { c.MaxPendingConnects = pending })
	e := families()[0]
	r.send(netstacktest.SYN(e.src, e.dst, isn))
	a := r.arrive()
	a.next <- func(f network.Flow) error {
		c, err := f.Accept(f.Context())
		if err != nil {
			return err
		}
		b, err := io.ReadAll(c)
		if string(b) != "still here" {
			t.Errorf("read %q, %v", b, err)
		}
		return err
	}
	ack := netstacktest.Segment{Src: e.src, Dst: e.dst, Seq: isn + 1, Flags: header.TCPFlagAck}
	ack.Ack = r.nextOf(e, header.TCPFlagSyn|header.TCPFlagAck).Seq + 1
	r.send(ack)
	eventually(t, "the connection", func() bool { return r.stack.Stats().Accepted == 1 })

	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range uint64(syns) {
		src := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1000)
		r.sendSlowly(i+3, link.Header{}, netstacktest.SYN(src, e.dst, uint32(i)).Bytes())
	}
	eventually(t, "the flood to be seen", func() bool { return r.stack.Stats().SynSeen == syns+1 })
	runtime.GC()
	runtime.ReadMemStats(&after)
	st := r.stack.Stats()
	if st.Pending != pending || st.SynDroppedPendingLimit != syns-pending {
		t.Errorf("stats %+v", st)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("the flood holds %d bytes", grown)
	}
	ack.Flags, ack.Payload = header.TCPFlagAck|header.TCPFlagFin, []byte("still here")
	r.send(ack)
	await(t, a.over, "the connection")
}

// Packets damaged at random, with and without offload flags, do no harm: the
// stack serves the next connect.
func TestMangledPackets(t *testing.T) {
	near, far := netstacktest.NewPair()
	served := make(chan netip.AddrPort, 1)
	last := netip.MustParseAddrPort("203.0.113.200:4443")
	r := &rig{t: t, wire: netstacktest.NewWire(t, near)}
	r.stack = start(t, far, network.HandlerFunc(func(_ context.Context, f network.Flow) error {
		if f.Info().LocalAddress.IP == last {
			served <- last
		}
		return errors.New("no")
	}), nil)
	rnd := rand.New(rand.NewPCG(1, 2))
	seeds := mangleSeeds()
	goroutines := runtime.NumGoroutine()
	for n := range uint64(40000) {
		b := bytes.Clone(seeds[rnd.IntN(len(seeds))])
		for range 1 + rnd.IntN(4) {
			b[rnd.IntN(min(len(b), 80))] = byte(rnd.Uint32())
		}
		h := link.Header{Flags: uint8(rnd.IntN(3)), GSOType: []uint8{0, 1, 4, 0x81}[rnd.IntN(4)]}
		r.sendSlowly(n+1, h, b[:len(b)-rnd.IntN(2)*rnd.IntN(len(b))])
	}
	eventually(t, "the flows to end", func() bool { return r.stack.Stats().Flows == 0 })
	eventually(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines+5 })
	if st := r.stack.Stats(); st.SynSeen == 0 || st.Link.RxChecksum == 0 || st.Link.RxMalformed == 0 {
		t.Errorf("not much was tried: %+v", st)
	}
	r.send(netstacktest.SYN(netip.MustParseAddrPort("10.9.9.9:9999"), last, isn))
	select {
	case <-served:
	case <-time.After(patience):
		t.Error("the next connect is not served")
	}
}

func mangleSeeds() [][]byte {
	var out [][]byte
	for _, e := range families() {
		syn := netstacktest.SYN(e.src, e.dst, isn)
		ack := syn
		ack.Flags, ack.Payload = header.TCPFlagAck|header.TCPFlagPsh, make([]byte, 300)
		out = append(out, syn.Bytes(), syn.Bytes(), ack.Bytes(),
			netstacktest.UDP(e.src, e.dst, make([]byte, 40)),
			netstacktest.Echo(e.src.Addr(), e.dst.Addr(), 1, 2, make([]byte, 40)))
	}
	return out
}

// A burst of connects to something unreachable: every one of them is told, not
// only as many as a rate allows.
func TestEveryConnectIsTold(t *testing.T) {
	const connects = 3000
	near, far := netstacktest.NewPair()
	r := &rig{t: t, wire: netstacktest.NewWire(t, near)}
	r.stack = start(t, far, network.HandlerFunc(func(_ context.Context, f network.Flow) error {
		f.Reject(network.WithReason(network.ReasonUnroutable, nil))
		return nil
	}), func(c *Config, _ *Deps) { c.MaxPendingConnects, c.MaxPendingPerSource = 2*connects, 2*connects })
	e := families()[1]
	for i := range uint16(connects) {
		r.send(netstacktest.SYN(netip.AddrPortFrom(e.src.Addr(), i+1), e.dst, isn))
	}
	told := make(map[uint16]bool)
	for range connects {
		p := r.wire.Next()
		if p.Quoted == nil || told[p.Quoted.Src.Port()] {
			t.Fatalf("answer %+v", p)
		}
		told[p.Quoted.Src.Port()] = true
	}
}
