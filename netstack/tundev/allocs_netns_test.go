//go:build !race

package tundev_test

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"

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
	c, err := n.connect(target(kernel4, hostAccepts), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	before := packets(s)
	var mem0, mem1 runtime.MemStats
	runtime.ReadMemStats(&mem0)
	if err := transfer(c, 256<<20); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&mem1)
	moved := packets(s) - before
	if per := float64(mem1.Mallocs-mem0.Mallocs) / float64(moved); per > allocsPerPacket {
		t.Errorf("%.3f allocations for each of %d packets", per, moved)
	} else {
		t.Logf("%.4f allocations for each of %d packets", per, moved)
	}
}
