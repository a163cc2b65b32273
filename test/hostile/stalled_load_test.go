package hostile

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"culvert/test/need"
	"culvert/test/program"
	"culvert/test/scale"
)

// stallsWithin is how long all flows may take to come to a stop.
const stallsWithin = time.Minute

// Receivers that have stopped cost what their buffers are bounded by, at both
// culverts together, and slow nobody.
func TestLoadStalledReceivers(t *testing.T) {
	need.Long(t)
	stalled := scale.Of(60, 1000)
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			p := newPair(t)
			alone := p.bestRate(w)
			before := p.resident()
			release := p.stall(w, stalled)
			grown := p.resident() - before
			beside := p.bestRate(w)
			release()
			alone = min(alone, p.bestRate(w)) // the machine may have had other things to do then
			each := grown / int64(stalled)
			scale.Figure(t, "%d stalled receivers cost %d KiB each (bound %d); another flow has %.0f MB/s, %.0f %% of what it had",
				stalled, each>>10, w.buffers>>10, beside/1e6, 100*beside/alone)
			if most := int64(stalled)*w.buffers + 2*hugeBound; grown > most*raceFactor() {
				t.Errorf("stalled receivers cost %d bytes each", each)
			}
			if scale.Full() && beside < 0.8*alone {
				t.Errorf("a flow beside them has %.0f %% of its rate", 100*beside/alone)
			}
		})
	}
}

// stall opens n flows whose receiver reads nothing, and waits until their sender
// gets rid of nothing more.
func (p *pair) stall(w way, n int) (release func()) {
	p.t.Helper()
	var all []net.Conn
	for range n {
		all = append(all, p.open(w, pours))
	}
	last := int64(-1)
	since := time.Now()
	program.Eventually(p.t, stallsWithin, "all flows have come to a stop", func() error {
		if now := p.origin.poured.Load(); now != last {
			last, since = now, time.Now()
		}
		if time.Since(since) < time.Second {
			return errors.New("bytes flow")
		}
		return nil
	})
	return func() {
		for _, c := range all {
			_ = c.Close()
		}
	}
}

// bestRate is the rate of a flow that does well, bytes a second.
func (p *pair) bestRate(w way) float64 {
	p.t.Helper()
	best := 0.0
	for range attempts {
		best = max(best, p.rate(w, 1, scale.For(100*time.Millisecond, time.Second)))
	}
	return best
}

// rate is that of n flows together, downstream.
func (p *pair) rate(w way, n int, d time.Duration) float64 {
	p.t.Helper()
	var all []net.Conn
	for range n {
		c := p.open(w, pours)
		defer func() { _ = c.Close() }()
		if _, err := io.ReadFull(c, make([]byte, 256<<10)); err != nil { // it has begun
			p.t.Fatalf("%s: %v", w.name, err)
		}
		all = append(all, c)
	}
	began := time.Now()
	var mu sync.Mutex
	var total int64
	var wg sync.WaitGroup
	for _, c := range all {
		_ = c.SetReadDeadline(began.Add(d))
		wg.Go(func() { // ends with the deadline
			got, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 256<<10))
			mu.Lock()
			defer mu.Unlock()
			total += got
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				p.t.Errorf("%s: a flow ended: %v", w.name, err)
			}
		})
	}
	wg.Wait()
	return float64(total) / time.Since(began).Seconds()
}
