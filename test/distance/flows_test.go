package distance

import (
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/test/program"
	"culvert/test/topology"
)

// The first byte of a flow says which way it goes.
const (
	down = 'd'
	up   = 'u'
)

// origin sends without end, or takes what comes.
type origin struct {
	took atomic.Pointer[atomic.Int64] // by flows that come from now on
	busy atomic.Int64                 // flows
}

func newOrigin(t *testing.T, ln net.Listener) *origin {
	o := &origin{}
	var running sync.WaitGroup
	running.Go(func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { o.serve(c) }) // ends with its flow, which its test ends
		}
	})
	t.Cleanup(func() { _ = ln.Close(); running.Wait() })
	return o
}

func (o *origin) serve(c net.Conn) {
	o.busy.Add(1)
	defer o.busy.Add(-1)
	defer c.Close()
	var way [1]byte
	if _, err := io.ReadFull(c, way[:]); err != nil {
		return
	}
	if way[0] == up {
		count(c, o.took.Load())
		return
	}
	send(c)
}

// count reads to the end.
func count(c net.Conn, n *atomic.Int64) {
	block := make([]byte, 64<<10)
	for {
		got, err := c.Read(block)
		n.Add(int64(got))
		if err != nil {
			return
		}
	}
}

// send writes until that fails.
func send(c net.Conn) {
	block := make([]byte, 64<<10)
	for {
		if _, err := c.Write(block); err != nil {
			return
		}
	}
}

// flows opens eight at once, lets them grow for a moment, and measures what they
// carry together, bytes in a second.
func (w *world) flows(t *testing.T, way byte, to string, grow, measured time.Duration) float64 {
	t.Helper()
	var arrived atomic.Int64
	w.origin.took.Store(&arrived)
	var running sync.WaitGroup
	var conns []net.Conn
	for _, c := range dialAll(t, w.near, to) {
		if _, err := c.Write([]byte{way}); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		if way == up {
			running.Go(func() { send(c) }) // ends when c is closed, below
		} else {
			running.Go(func() { count(c, &arrived) })
		}
	}
	time.Sleep(grow)
	began, had := time.Now(), arrived.Load()
	time.Sleep(measured)
	rate := float64(arrived.Load()-had) / time.Since(began).Seconds()
	for _, c := range conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
	running.Wait()
	// What is under way of them is in the way of those that come.
	program.Eventually(t, time.Minute, "the flows are over at the origin", func() error {
		if n := w.origin.busy.Load(); n > 0 {
			return fmt.Errorf("%d are not", n)
		}
		return nil
	})
	return rate
}

func dialAll(t *testing.T, from *topology.Host, to string) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, 8)
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			c, err := from.Dial("tcp", to)
			if err != nil {
				t.Errorf("flow %d: %v", i, err)
				return
			}
			t.Cleanup(func() { _ = c.Close() })
			conns[i] = c
		})
	}
	wg.Wait()
	if slices.Contains(conns, nil) {
		t.FailNow()
	}
	return conns
}
