package hostile

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"culvert/test/need"
	"culvert/test/scale"
)

// mouse is what a short flow carries each way, bytes.
const mouse = 1 << 10

// Thousands of short flows share a gateway with one that takes all it can get,
// without waiting much longer for it.
func TestLoadElephantAndMice(t *testing.T) {
	need.Long(t)
	mice, rounds := scale.Of(200, 10_000), scale.Of(1, attempts)
	for _, w := range ways()[:2] {
		t.Run(w.name, func(t *testing.T) {
			p := newPair(t)
			p.scurry(w, mice/10) // what is made at the first use is there
			best := 0.0
			var alone, beside time.Duration
			var speed float64
			for range rounds {
				a := p.scurry(w, mice).quantile(0.99)
				stop := p.elephant(w)
				b := p.scurry(w, mice).quantile(0.99)
				rate := stop()
				if slower := float64(b) / float64(a); best == 0 || slower < best {
					best, alone, beside, speed = slower, a, b, rate
				}
			}
			scale.Figure(t, "%d flows of %d bytes: p99 %v alone, %v beside an elephant of %.0f MB/s (%.1f times)",
				mice, mouse, alone, beside, speed/1e6, best)
			if scale.Full() && best > mostSlower {
				t.Errorf("the p99 of short flows is %.1f times what it was", best)
			}
		})
	}
}

// scurry runs n short flows, eight at a time, and says how long each took from
// connecting to its last byte.
func (p *pair) scurry(w way, n int) pings {
	p.t.Helper()
	const atOnce = 8
	var mu sync.Mutex
	var all pings
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() { // ends with its share
			var mine pings
			for range n / atOnce {
				began := time.Now()
				if err := p.shortFlow(w); err != nil {
					p.t.Errorf("short flow: %v", err)
					return
				}
				mine = append(mine, time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
		})
	}
	wg.Wait()
	if len(all) == 0 {
		p.t.Fatal("no short flow got through")
	}
	return all
}

func (p *pair) shortFlow(w way) error {
	c, err := p.host.Dial("tcp", w.address)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	message := make([]byte, 1+mouse)
	message[0] = echoes
	if _, err := c.Write(message); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, message[1:]); err != nil {
		return err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, c)
	return err
}

// elephant pours until it is stopped, and then says at what rate.
func (p *pair) elephant(w way) (stop func() float64) {
	p.t.Helper()
	c := p.open(w, pours)
	began := time.Now()
	var got int64
	var wg sync.WaitGroup
	wg.Go(func() { // ends when c is closed
		got, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 256<<10))
	})
	return func() float64 {
		_ = c.Close()
		wg.Wait()
		return float64(got) / time.Since(began).Seconds()
	}
}
