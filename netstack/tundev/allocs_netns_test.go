//go:build !race

package tundev_test

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"culvert/netstack"
	"culvert/netstack/tundev"
	"culvert/test/need"
)

// allocsPerPacket is what moving a packet may allocate, the test's own share
// included. Under the race detector sync.Pool throws objects away on purpose,
// so this file is not built then.
const allocsPerPacket = 0.05

func TestAllocations(t *testing.T) {
	need.TUN(t)
	n := newNamespace(t)
	s := serve(t, n.openTUN(t, tundev.Options{Name: "culvert0"}), &far{}, nil)
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it would empty the pools
	if err := warm(n); err != nil {
		t.Fatal(err)
	}
	best := 1e9 // on a loaded machine more is on its way at a time, and the pools grow once more
	for range 5 {
		best = min(best, allocationsOf(t, n, s))
		if best <= allocsPerPacket {
			break
		}
	}
	if best > allocsPerPacket {
		t.Errorf("%.4f allocations for each packet", best)
	}
}

// allocationsOf moves some bytes both ways and returns what each packet of them
// has allocated.
func allocationsOf(t *testing.T, n *namespace, s *netstack.Stack) float64 {
	t.Helper()
	c, err := n.connect(target(kernel4, hostAccepts), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	before := packets(s)
	var mem0, mem1 runtime.MemStats
	runtime.ReadMemStats(&mem0)
	if err := transfer(c, 64<<20); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&mem1)
	return float64(mem1.Mallocs-mem0.Mallocs) / float64(packets(s)-before)
}
