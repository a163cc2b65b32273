package netstack

import (
	"context"
	"io"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"culvert/netstack/netstacktest"
	"culvert/proxy/network"
	"culvert/test/need"
	"culvert/test/scale"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

const (
	// handshakesAtOnce is how many flows are opened together: far fewer than what
	// the device queues.
	handshakesAtOnce = 256
	// flowBound is what an idle flow may hold, bytes of heap and stacks.
	flowBound = 24 << 10
)

// crowd is very many applications, each no more than two sequence numbers.
type crowd struct {
	rig  *rig
	conn []applicationEnd
	find map[netip.AddrPort]int
}

type applicationEnd struct {
	next, acked uint32 // what it sends next, what it expects
	answers     int
}

// Fifty thousand flows, answered by a handler that has no socket: each gets its
// byte, what an idle one holds is bounded, all can be used again, and all of it is
// given back.
func TestLoadFlowsInProcess(t *testing.T) {
	need.Long(t)
	flows := scale.Of(1000, 50000)
	near, far := netstacktest.NewPair()
	r := &rig{t: t, wire: netstacktest.NewWire(t, near)}
	r.stack = start(t, far, network.HandlerFunc(echoBytes), func(c *Config, _ *Deps) { c.MaxFlows = flows + 1 })
	c := &crowd{rig: r, conn: make([]applicationEnd, flows), find: make(map[netip.AddrPort]int, flows)}
	goroutines := runtime.NumGoroutine()
	before := held()
	began := time.Now()
	for first := 0; first < flows; first += handshakesAtOnce {
		c.open(first, min(first+handshakesAtOnce, flows))
	}
	took := time.Since(began)
	if st := r.stack.Stats(); st.Accepted != uint64(flows) || st.Flows != uint64(flows) {
		t.Fatalf("stats %+v", st)
	}
	perFlow := (held() - before) / int64(flows)
	scale.Figure(t, "%d flows in %v, %.0f/s", flows, took.Round(time.Millisecond), float64(flows)/took.Seconds())
	scale.Figure(t, "%d bytes of heap and stacks, %.2f goroutines an idle flow", perFlow,
		float64(runtime.NumGoroutine()-goroutines)/float64(flows))
	bound := int64(flowBound)
	if !scale.Full() {
		bound *= 2 // few flows share what is there once, and the race detector holds more
	}
	if perFlow > bound {
		t.Errorf("an idle flow holds %d bytes, at most %d", perFlow, bound)
	}
	for i := 0; i < flows; i += 50 {
		c.exchange(i, i+1, 2)
	}
	for first := 0; first < flows; first += handshakesAtOnce {
		c.close(first, min(first+handshakesAtOnce, flows))
	}
	eventually(t, "the flows to end", func() bool { return r.stack.Stats().Flows == 0 })
	eventually(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines+5 })
	if left := (held() - before) / int64(flows); left > bound/4 {
		t.Errorf("%d bytes are left of each flow", left)
	}
}

// echoBytes serves a flow with nothing behind it.
func echoBytes(ctx context.Context, f network.Flow) error {
	c, err := f.Accept(ctx)
	if err != nil {
		return err
	}
	b := make([]byte, 1)
	for {
		if _, err := io.ReadFull(c, b); err != nil {
			return err
		}
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
}

// held is what is in use after collecting garbage: objects and stacks, bytes.
func held() int64 {
	runtime.GC()
	runtime.GC() // what the first finalised, and stacks that shrink when they are scanned
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// ends of the nth flow: some applications, some destinations.
func (c *crowd) ends(i int) (src, dst netip.AddrPort) {
	host := netip.AddrFrom4([4]byte{10, 9, byte(i >> 16), byte(i >> 8)})
	return netip.AddrPortFrom(host, uint16(1024+i&0xff)), netip.MustParseAddrPort("203.0.113.7:443")
}

func (c *crowd) segment(i int, flags header.TCPFlags, payload []byte) {
	e := &c.conn[i]
	src, dst := c.ends(i)
	c.rig.send(netstacktest.Segment{Src: src, Dst: dst, Flags: flags, Seq: e.next, Ack: e.acked, Payload: payload})
	e.next += uint32(len(payload))
}

// open connects the flows from first to last and waits for an answer on each.
func (c *crowd) open(first, last int) {
	c.rig.t.Helper()
	for i := first; i < last; i++ {
		src, _ := c.ends(i)
		c.find[src] = i
		c.conn[i] = applicationEnd{next: isn}
		c.segment(i, header.TCPFlagSyn, nil)
		c.conn[i].next++
	}
	c.await(first, last, 1)
}

// exchange sends a byte on each flow and waits until each has so many answers.
func (c *crowd) exchange(first, last, answers int) {
	c.rig.t.Helper()
	for i := first; i < last; i++ {
		c.segment(i, header.TCPFlagAck|header.TCPFlagPsh, []byte{'x'})
	}
	c.await(first, last, answers)
}

// await reads what the stack sends until each flow has so many answers.
func (c *crowd) await(first, last, answers int) {
	c.rig.t.Helper()
	for left := last - first; left > 0; {
		p := c.rig.wire.Next()
		i, known := c.find[p.Dst]
		if !known || p.Flags&header.TCPFlagRst != 0 {
			c.rig.t.Fatalf("unexpected packet %+v", p)
		}
		e := &c.conn[i]
		switch {
		case p.Flags&header.TCPFlagSyn != 0:
			e.next, e.acked = isn+1, p.Seq+1 // from the start, should it be a second one
			c.segment(i, header.TCPFlagAck|header.TCPFlagPsh, []byte{'x'})
		case len(p.Payload) > 0 && p.Seq == e.acked:
			e.acked += uint32(len(p.Payload))
			e.answers++
			c.segment(i, header.TCPFlagAck, nil)
			if e.answers == answers && i >= first && i < last {
				left--
			}
		case len(p.Payload) > 0: // sent again: the machine is slow
			c.segment(i, header.TCPFlagAck, nil)
		}
	}
}

// close resets the flows.
func (c *crowd) close(first, last int) {
	c.rig.t.Helper()
	for i := first; i < last; i++ {
		c.segment(i, header.TCPFlagRst|header.TCPFlagAck, nil)
	}
	eventually(c.rig.t, "the flows to end", func() bool {
		return c.rig.stack.Stats().Flows <= uint64(len(c.conn)-last)
	})
}
