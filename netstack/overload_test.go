package netstack

import (
	"context"
	"io"
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

// What a connection holds for an application that does not read, and for who does
// not read the application, is known, and bounded by the buffer it got.
func TestHeld(t *testing.T) {
	const buffer = 128 << 10
	app, nc, _ := pairOf(t, families()[0].dst)
	c := nc.(*conn)
	if n := c.Held(); n != 0 {
		t.Errorf("an idle connection holds %d", n)
	}
	c.buffer(buffer)
	fast := writeAll(c, noise(32<<20)) // an endpoint that may would make its buffers larger
	if _, err := io.CopyN(io.Discard, app, 32<<20); err != nil {
		t.Fatal(err)
	}
	must(t, <-fast)
	must(t, <-writeAll(app, noise(10<<10)))
	eventually(t, "what arrived to be held", func() bool { return c.Held() == 10<<10 })
	wrote := make(chan error, 1)
	go func() { // ends with the connection
		_, err := c.Write(noise(32 << 20))
		wrote <- err
	}()
	eventually(t, "the send queue to be full", func() bool { return c.Held() >= buffer })
	if n := c.Held(); n > 2*buffer {
		t.Errorf("%d are held with buffers of %d", n, buffer)
	}
	c.Abort(network.ErrOverload)
	if err := <-wrote; err == nil {
		t.Error("the writer was not told")
	}
	if n := c.Held(); n != 0 {
		t.Errorf("%d are held after the end", n)
	}
}
