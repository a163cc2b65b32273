package cycles

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"culvert/appliance"
	"culvert/configs"
	"culvert/test/leak"
	"culvert/test/need"
	"culvert/test/peer"
	"culvert/test/topology"
)

func TestMain(m *testing.M) { leak.Main(m) }

const (
	// patience bounds what a cycle waits for; nothing that works takes so long.
	patience = time.Minute
	// slack is what the heap may have grown by in all cycles together, bytes: a
	// kilobyte that each cycle leaves behind, or a flow of ten, is beyond it.
	slack = 100 << 10
	// warm is how many cycles fill what is filled once: pools, caches, tables.
	warm = 10
)

// up and down are what each application and its origin exchange.
var up, down = peer.Stream{Seed: 1, Size: 192 << 10}, peer.Stream{Seed: 2, Size: 256 << 10}

// A hundred lives of an appliance with both ends of every tunnel mode: load,
// a new configuration in the middle of it, more load, a drain. Goroutines,
// descriptors and memory are what they were.
func TestLoadAndDrain(t *testing.T) { live(t, nil) }

// The same with a TUN, a netstack and applications that are captured.
func TestLoadAndDrainCaptured(t *testing.T) {
	need.TUN(t)
	live(t, topology.New(t).Host("app"))
}

func live(t *testing.T, app *topology.Host) {
	cycles := 100
	if testing.Short() {
		cycles = 20
	}
	dir := t.TempDir()
	writeCertificates(t, dir)
	ln, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	origin := peer.Serve(t, ln, func(ctx context.Context, c net.Conn) error {
		_ = peer.Exchange(down, up)(ctx, c) // what went wrong the application knows; a server keeps each error
		return nil
	})
	port := fmt.Sprint(ln.Addr().(*net.TCPAddr).Port)
	w := newWorld(t, dir, port, app)
	for range warm {
		cycle(t, w)
	}
	before := look()
	for i := range cycles {
		cycle(t, w)
		if t.Failed() {
			t.Fatalf("in cycle %d of %d", i+1, cycles)
		}
	}
	var after held
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) { // what ends, ends a little later
		after = look()
		if after.within(before) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d cycles have left %v behind: before %v, after %v", cycles, after.minus(before), before, after)
		}
	}
	t.Logf("%d cycles, %d flows: before %v, after %v", cycles, origin.Accepted(), before, after)
}

// held is what a process holds.
type held struct {
	goroutines, descriptors int
	heap                    int64 // bytes that are in use after a collection
}

func look() held {
	runtime.GC()
	runtime.GC() // the second takes what the pools gave up in the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return held{runtime.NumGoroutine(), len(leak.Open()), int64(m.HeapAlloc)}
}

func (h held) minus(b held) held {
	return held{h.goroutines - b.goroutines, h.descriptors - b.descriptors, h.heap - b.heap}
}

func (h held) within(b held) bool {
	d := h.minus(b)
	return d.goroutines <= 0 && d.descriptors <= 0 && d.heap <= slack
}

func (h held) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d KiB", h.goroutines, h.descriptors, h.heap>>10)
}

// cycle is one life.
func cycle(t *testing.T, w *world) {
	t.Helper()
	source := configs.Source{YAML: w.config}
	a, err := appliance.New(source, appliance.Options{
		Log: slog.New(slog.DiscardHandler), Stdout: io.Discard, Stderr: io.Discard, DrainTime: patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, drain := context.WithCancel(context.Background())
	kill, abort := context.WithCancel(context.Background())
	defer abort()
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx, kill) }() // ends with drain or abort
	select {
	case <-a.Live():
	case err := <-ended:
		t.Fatalf("ended at once: %v", err)
	}
	exchange(t, w)
	open := hold(t, w)
	if err := a.Swap(t.Context(), source); err != nil {
		t.Error(err)
	}
	exchange(t, w)
	drain()
	open() // flows that are open as the drain begins come to their own end
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the drain does not end")
	}
}

// exchange moves bytes through each way, two flows at once; one more goes away
// in the middle.
func exchange(t *testing.T, w *world) {
	t.Helper()
	var wg sync.WaitGroup
	for _, way := range w.Ways {
		for range 2 {
			wg.Go(func() { // ends with its exchange
				c, err := way.dial()
				if err == nil {
					err = peer.Exchange(up, down)(t.Context(), c)
				}
				if err != nil {
					t.Errorf("%v: %v", way, err)
				}
			})
		}
		wg.Go(func() { // ends with its reset
			c, err := way.dial()
			if err != nil {
				t.Errorf("%v: %v", way, err)
				return
			}
			_, _ = c.Read(make([]byte, 1000)) // the reset is what it is about
			peer.Reset(c)
		})
	}
	wg.Wait()
}

// hold opens a flow through each way; the function it returns completes them.
func hold(t *testing.T, w *world) (complete func()) {
	t.Helper()
	conns := make([]net.Conn, len(w.Ways))
	for i, way := range w.Ways {
		c, err := way.dial()
		if err != nil {
			t.Fatalf("%v: %v", way, err)
		}
		conns[i] = c
	}
	return func() {
		var wg sync.WaitGroup
		for i, c := range conns {
			wg.Go(func() { // ends with its exchange
				if err := peer.Exchange(up, down)(t.Context(), c); err != nil {
					t.Errorf("%v, held over a swap and into a drain: %v", w.Ways[i], err)
				}
			})
		}
		wg.Wait()
	}
}
