package netstack

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"

	"culvert/netstack/netstacktest"
	"culvert/proxy/network"
)

// shortage says what a test wants it to.
type shortage struct {
	drops, refuses atomic.Bool
	buffer         int
	await          func(context.Context) error
}

func (s *shortage) DropsConnections() bool   { return s.drops.Load() }
func (s *shortage) RefusesConnections() bool { return s.refuses.Load() }
func (s *shortage) Buffer() int              { return s.buffer }

func (s *shortage) AwaitConnection(ctx context.Context) error {
	if s.await == nil {
		return nil
	}
	return s.await(ctx)
}

func TestOverload(t *testing.T) {
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, 2}), 1)
	dst := families()[0].dst
	start := func(t *testing.T, o *shortage) *rig {
		return newRig(t, func(_ *Config, d *Deps) { d.Overload = o })
	}
	t.Run("drops", func(t *testing.T) {
		o := &shortage{}
		o.drops.Store(true)
		r := start(t, o)
		r.send(netstacktest.SYN(from, dst, isn))
		r.quiet()
		if st := r.stack.Stats(); st.SynDroppedOverload != 1 || st.SynSeen != 1 || st.Flows != 0 {
			t.Errorf("stats %+v", st)
		}
		o.drops.Store(false)
		r.send(netstacktest.SYN(from, dst, isn)) // TCP repeats it
		r.arrive()
	})
	t.Run("refuses, rather than drops", func(t *testing.T) {
		o := &shortage{}
		o.drops.Store(true)
		o.refuses.Store(true)
		r := start(t, o)
		r.send(netstacktest.SYN(from, dst, isn))
		told{type4: 3, cd4: 0}.check(t, r, from, dst)
		if st := r.stack.Stats(); st.FlowsOverloaded != 1 || st.SynDroppedOverload != 0 {
			t.Errorf("stats %+v", st)
		}
	})
	t.Run("waits, and is refused", func(t *testing.T) {
		wait := make(chan struct{})
		r := start(t, &shortage{await: func(context.Context) error { <-wait; return network.ErrOverload }})
		r.send(netstacktest.SYN(from, dst, isn))
		r.quiet()
		close(wait)
		told{type4: 3, cd4: 0}.check(t, r, from, dst)
	})
}
