//go:build !race

package tundev_test

import (
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"testing"

	"culvert/netstack"
	"culvert/netstack/tundev"
	"culvert/test/need"
	"culvert/test/scale"
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
		allocs, _ := allocationsOf(t, n, s, 5000)
		if best = min(best, allocs); best <= allocsPerPacket {
			break
		}
	}
	if best > allocsPerPacket {
		t.Errorf("%.4f allocations for each packet", best)
	}
}

// Bytes in both directions at once, very many packets of them, with the garbage
// collector at work: the whole process, application and far end included, hardly
// allocates.
func TestLoadAllocations(t *testing.T) {
	need.Long(t)
	need.TUN(t)
	want := uint64(scale.Of(20_000, 100_000))
	n := newNamespace(t)
	s := serve(t, n.openTUN(t, tundev.Options{Name: "culvert0"}), &far{}, nil)
	var before, after debug.GCStats
	debug.ReadGCStats(&before)
	best, moved := 1e9, uint64(0)
	for range 3 { // see TestAllocations
		allocs, packets := allocationsOf(t, n, s, want)
		scale.Figure(t, "%d packets: %.4f allocations for each", packets, allocs)
		best, moved = min(best, allocs), moved+packets
		if best <= allocsPerPacket {
			break
		}
	}
	debug.ReadGCStats(&after)
	scale.Figure(t, "%d collections during %d packets", after.NumGC-before.NumGC, moved)
	if best > allocsPerPacket {
		t.Errorf("%.4f allocations for each packet", best)
	}
}

// allocationsOf moves bytes both ways at once until so many packets have crossed
// the link, and returns what each of them has allocated in the whole process, and
// how many there were.
func allocationsOf(t *testing.T, n *namespace, s *netstack.Stack, want uint64) (perPacket float64, moved uint64) {
	t.Helper()
	c, err := n.connect(target(kernel4, hostAccepts), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	out, in := make([]byte, 256<<10), make([]byte, 256<<10)
	sent := make(chan int64, 1)
	before := packets(s)
	var mem0, mem1 runtime.MemStats
	runtime.ReadMemStats(&mem0)
	go func() { // ends with the packets, or the connection
		var total int64
		for err := error(nil); err == nil && packets(s)-before < want; {
			var k int
			k, err = c.Write(out)
			total += int64(k)
		}
		_ = c.(*net.TCPConn).CloseWrite() // an error is the reader's to tell
		sent <- total
	}()
	got := int64(0)
	for err == nil {
		var k int
		k, err = c.Read(in)
		got += int64(k)
	}
	if total := <-sent; err != io.EOF || got != total {
		t.Fatalf("sent %d bytes, got %d back: %v", total, got, err)
	}
	runtime.ReadMemStats(&mem1)
	moved = packets(s) - before
	return float64(mem1.Mallocs-mem0.Mallocs) / float64(moved), moved
}
