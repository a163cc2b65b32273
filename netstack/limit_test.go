package netstack

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"culvert/netstack/netstacktest"
	"culvert/proxy/network"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

func TestLimits(t *testing.T) {
	from := func(host byte, port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, host}), port)
	}
	dst := families()[0].dst
	t.Run("pending", func(t *testing.T) {
		r := newRig(t, func(c *Config, _ *Deps) { c.MaxPendingConnects = 6 })
		for i := range uint16(5) { // one source gets three quarters
			r.send(netstacktest.SYN(from(2, 1000+i), dst, isn))
		}
		for i := range uint16(3) {
			r.send(netstacktest.SYN(from(3, 1000+i), dst, isn))
		}
		r.quiet()
		st := r.stack.Stats()
		if st.Pending != 6 || st.SynDroppedSourceLimit != 1 || st.SynDroppedPendingLimit != 1 {
			t.Errorf("stats %+v", st)
		}
		r.arrive().finish(t, func(f network.Flow) error { f.Reject(errors.New("no")); return nil })
		r.wire.Next()
		r.send(netstacktest.SYN(from(4, 1), dst, isn)) // there is a place again
		eventually(t, "the freed place", func() bool {
			r.send(netstacktest.SYN(from(4, 1), dst, isn))
			return r.stack.Stats().Pending == 6
		})
	})
	t.Run("flows", func(t *testing.T) {
		r := newRig(t, func(c *Config, _ *Deps) { c.MaxFlows = 1 })
		r.send(netstacktest.SYN(from(2, 1), dst, isn))
		r.arrive()
		r.send(netstacktest.SYN(from(2, 2), dst, isn))
		told{type4: 3, cd4: 0}.check(t, r, from(2, 2), dst)
		eventually(t, "one over the limit", func() bool { st := r.stack.Stats(); return st.FlowsOverLimit == 1 && st.Flows == 1 })
	})
	t.Run("silent", func(t *testing.T) {
		r := newRig(t, nil)
		r.stack.gate.mu.Lock()
		r.stack.gate.limit.silent = 2
		r.stack.gate.mu.Unlock()
		silence := func(f network.Flow) error { f.Reject(context.DeadlineExceeded); return nil }
		for i := range uint16(2) {
			r.send(netstacktest.SYN(from(2, i+1), dst, isn))
			r.arrive().finish(t, silence)
		}
		r.send(netstacktest.SYN(from(2, 1), dst, isn)) // this one still tries
		r.send(netstacktest.SYN(from(2, 9), dst, isn))
		r.arrive().finish(t, silence)
		eventually(t, "two to be remembered", func() bool {
			st := r.stack.Stats()
			return st.SilentForgotten == 1 && st.SilentRemembered == 2
		})
		r.send(netstacktest.SYN(from(2, 1), dst, isn))
		r.noFlow()
		r.send(netstacktest.SYN(from(2, 2), dst, isn)) // forgotten
		r.arrive().finish(t, silence)
	})
	t.Run("told", func(t *testing.T) {
		r := newRig(t, nil)
		r.stack.gate.mu.Lock()
		r.stack.gate.limit.told = 2
		r.stack.gate.mu.Unlock()
		for i := range uint16(3) {
			r.send(netstacktest.SYN(from(2, i+1), dst, isn))
			r.arrive().finish(t, func(f network.Flow) error { f.Reject(errors.New("no")); return nil })
			r.wire.Next()
		}
		eventually(t, "two to be remembered", func() bool { return r.stack.Stats().ToldRemembered == 2 })
	})
}

// Of more applications than are waited for at once the last is not answered, until
// one of the others has answered or has gone.
func TestHalfOpenLimit(t *testing.T) {
	r := newRig(t, nil)
	r.stack.halfOpen = make(chan struct{}, 1)
	dst := families()[0].dst
	app := func(i uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, 2}), i)
	}
	told := func(to netip.AddrPort) {
		t.Helper()
		for p := r.wire.Next(); p.Dst != to; p = r.wire.Next() { // others may be told again
		}
	}
	accept := func(f network.Flow) error { _, err := f.Accept(f.Context()); return err }
	r.send(netstacktest.SYN(app(1), dst, isn))
	r.arrive().next <- accept
	told(app(1))

	r.send(netstacktest.SYN(app(2), dst, isn))
	r.arrive().finish(t, func(f network.Flow) error {
		ctx, cancel := context.WithTimeout(f.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := f.Accept(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Accept: %v", err)
		}
		return nil
	})
	marker := app(9)
	r.send(netstacktest.Segment{Src: marker, Dst: dst, Flags: header.TCPFlagAck, Ack: 77})
	for p := r.wire.Next(); p.Dst != marker; p = r.wire.Next() {
		if p.Dst == app(2) {
			t.Fatalf("the one too many is told %+v", p)
		}
	}

	r.send(netstacktest.Segment{Src: app(1), Dst: dst, Flags: header.TCPFlagRst, Seq: isn + 1})
	r.send(netstacktest.SYN(app(3), dst, isn))
	r.arrive().next <- accept
	told(app(3))
}
