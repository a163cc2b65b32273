package netstack

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"culvert/netstack/netstacktest"
	"culvert/proxy/network"
)

func TestGivingUp(t *testing.T) {
	var state atomic.Uint32
	prober := ProberFunc(func(local, remote netip.AddrPort) Liveness {
		if e := families()[0]; local != e.src || remote != e.dst {
			t.Errorf("asked for %s to %s", local, remote)
		}
		return Liveness(state.Load())
	})
	gone := func(t *testing.T, r *rig, a *arrival) {
		t.Helper()
		if err := a.awaitCancel(t); !errors.Is(err, errApplicationGone) {
			t.Errorf("flow ended with %v", err)
		}
		await(t, a.over, "the handler")
		r.quiet()
		eventually(t, "the flow to be counted", func() bool { return r.stack.Stats().CanceledGone == 1 })
	}
	for _, c := range []struct {
		name        string
		first, then Liveness
		do          func(*testing.T, *rig, *arrival)
	}{
		{"while pending", LivenessAlive, LivenessGone, gone},
		{"found at accept", LivenessAlive, LivenessGone, func(t *testing.T, r *rig, a *arrival) {
			a.next <- func(f network.Flow) error { _, err := f.Accept(context.Background()); return err }
			gone(t, r, a)
		}},
		{"found at reject", LivenessAlive, LivenessGone, func(t *testing.T, r *rig, a *arrival) {
			a.next <- func(f network.Flow) error { f.Reject(errors.New("no")); return nil }
			gone(t, r, a)
		}},
		{"unknown is alive", LivenessUnknown, LivenessUnknown, stillTold},
		{"never seen is alive", LivenessGone, LivenessGone, stillTold},
		{"becomes unknown", LivenessAlive, LivenessUnknown, stillTold},
	} {
		t.Run(c.name, func(t *testing.T) {
			state.Store(uint32(c.first))
			r := newRig(t, func(_ *Config, d *Deps) { d.Prober = prober })
			var later atomic.Int64
			r.stack.gate.now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
			e := families()[0]
			r.send(netstacktest.SYN(e.src, e.dst, isn))
			a := r.arrive()
			state.Store(uint32(c.then))
			later.Store(int64(stillThere))
			c.do(t, r, a)
		})
	}
}

func stillTold(t *testing.T, r *rig, a *arrival) {
	t.Helper()
	r.stack.gate.probePending()
	a.finish(t, func(f network.Flow) error { f.Reject(errors.New("no")); return nil })
	e := families()[0]
	told{type4: 3, cd4: 0}.check(t, r, e.src, e.dst)
}
