package listener

import (
	"context"
	"testing"

	"culvert/proxy/network"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

// An internal listener whose flows come back to it refuses them in the end; one
// with a socket cannot tell and does not count.
func TestLoop(t *testing.T) {
	const more = 3 * network.MaxHops
	for _, inner := range []bool{true, false} {
		var l *Listener
		served := 0
		h := func(ctx context.Context, f network.Flow) error {
			served++
			if served == more {
				f.Reject(nil)
				return nil
			}
			again := newFakeFlow()
			again.info = f.Info().Inner(uint64(served) + 1)
			err := l.ServeFlow(ctx, again)
			f.Reject(again.rejected)
			return err
		}
		m := &listenerv3.Listener{Name: "l", FilterChains: []*listenerv3.FilterChain{chainOf("c", nil)}}
		if inner {
			m = internal(m)
		} else {
			m.Address = socketAddress("127.0.0.1", 10001)
		}
		d := testDeps(handlers{"f": h})
		var err error
		if l, err = New(m, d); err != nil {
			t.Fatal(err)
		}
		f := newFakeFlow()
		err = l.ServeFlow(t.Context(), f)
		if !inner {
			if err != nil || served != more {
				t.Errorf("socket: served %d times, %v", served, err)
			}
			continue
		}
		if served != network.MaxHops || network.ReasonFor(err) != network.ReasonLoop || network.ReasonFor(f.rejected) != network.ReasonLoop {
			t.Errorf("served %d times, %v, rejected with %v", served, err, f.rejected)
		}
		if v, _ := d.Stats.Value("listener.envoy_internal_l.downstream_cx_active"); v != 0 {
			t.Errorf("downstream_cx_active %d", v)
		}
	}
}
