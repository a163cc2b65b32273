package hostile

import (
	"fmt"
	"testing"
	"time"

	"culvert/test/need"
	"culvert/test/scale"
)

// A tunnel whose receiver has stopped does not slow those beside it on its
// connection, nor do five.
func TestLoadStuckNeighbours(t *testing.T) {
	need.Long(t)
	const neighbours = 8
	rounds, window := scale.Of(1, 5), scale.For(200*time.Millisecond, time.Second)
	p := newPair(t)
	w := ways()[0]
	stuck := []int{0, 1, 5}
	best := make([]float64, len(stuck))
	for range rounds {
		for i, n := range stuck {
			release := func() {}
			if n > 0 {
				release = p.stall(w, n)
			}
			best[i] = max(best[i], p.rate(w, neighbours, window))
			release()
		}
	}
	said := ""
	for i, n := range stuck[1:] {
		ratio := best[i+1] / best[0]
		said += fmt.Sprintf("; beside %d stuck ones %.0f %%", n, 100*ratio)
		if scale.Full() && ratio < 0.9 {
			t.Errorf("beside %d stuck tunnels others have %.0f %% of their rate", n, 100*ratio)
		}
	}
	scale.Figure(t, "%d tunnels of a connection have %.0f MB/s%s", neighbours, best[0]/1e6, said)
	if n := p.nearStats.Stat("cluster.one.upstream_cx_http2_total"); n != 1 {
		t.Errorf("there were %d connections", n)
	}
}
