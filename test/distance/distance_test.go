package distance

import (
	"net"
	"slices"
	"testing"
	"time"

	"culvert/test/need"
	"culvert/test/scale"
)

// reach is what eight flows through the gateway carry at least of what eight
// direct connections do; judged at full size.
const reach = 0.8

// Eight flows to a gateway that is far away have eight connections, and carry
// about what they would carry without a gateway.
func TestLoadDistance(t *testing.T) {
	need.Long(t)
	w := newWorld(t)
	rounds := scale.Of(1, 5)
	grow, measured := scale.For(500*time.Millisecond, 2*time.Second), scale.For(time.Second, 5*time.Second)
	direct := net.JoinHostPort(gatewayAddress, originPort)
	for _, way := range []byte{down, up} {
		name := map[byte]string{down: "down", up: "up"}[way]
		var ratios []float64
		for range rounds {
			through := w.flows(t, way, tunnelled, grow, measured)
			w.awaitConnections(t, 8, time.Minute)
			without := w.flows(t, way, direct, grow, measured)
			ratios = append(ratios, through/without)
			scale.Figure(t, "%s: eight flows carried %.1f Mbit/s through the gateway, %.1f without", name, through*8e-6, without*8e-6)
		}
		slices.Sort(ratios)
		median := ratios[len(ratios)/2]
		scale.Figure(t, "%s: through the gateway %.2f of what there is without (%.2f to %.2f)", name, median, ratios[0], ratios[len(ratios)-1])
		if scale.Full() && median < reach {
			t.Errorf("%s: %.2f, want at least %.1f", name, median, reach)
		}
	}
}
