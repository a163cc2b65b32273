package cluster

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/network"
)

var insisted = network.IPAddress(netip.MustParseAddrPort("192.0.2.1:443"))

// numbered is a connector that is told which attempt it is, from 1.
func numbered(n *atomic.Int32, connect func(ctx context.Context, attempt int32) (network.Conn, error)) Connector {
	return insistent{connectorFunc(func(ctx context.Context, _ network.Address) (network.Conn, error) {
		return connect(ctx, n.Add(1))
	})}
}

func hung(ctx context.Context) (network.Conn, error) { <-ctx.Done(); return nil, context.Cause(ctx) }

// A peer that does not answer is asked again, and what answers first is taken.
func TestInsistsOnASilentPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		began := time.Now()
		conn, err := numbered(&n, func(ctx context.Context, attempt int32) (network.Conn, error) {
			if attempt == 3 {
				return &fakeConn{}, nil
			}
			return hung(ctx)
		}).Connect(t.Context(), insisted, nil)
		if err != nil || conn == nil || time.Since(began) != 2*headStart {
			t.Errorf("%v, %v after %v", conn, err, time.Since(began))
		}
	})
}

// At any time there are few sockets, and all end with the caller's patience.
func TestInsistsWithinBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n, open, most atomic.Int32
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errConnectTimeout)
		defer cancel()
		_, err := numbered(&n, func(ctx context.Context, _ int32) (network.Conn, error) {
			most.Store(max(most.Load(), open.Add(1)))
			defer open.Add(-1)
			return hung(ctx)
		}).Connect(ctx, insisted, nil)
		if !errors.Is(err, errConnectTimeout) || n.Load() < 199 || most.Load() > 4 || open.Load() != 0 {
			t.Errorf("%v after %d attempts, %d at once, %d left", err, n.Load(), most.Load(), open.Load())
		}
	})
}

// A refusal is an answer. One that another socket met is not the first one's:
// it may have had no port.
func TestInsistsNotAgainstAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		_, err := numbered(&n, func(context.Context, int32) (network.Conn, error) { return nil, syscall.ECONNREFUSED }).Connect(t.Context(), insisted, nil)
		if !errors.Is(err, syscall.ECONNREFUSED) || n.Load() != 1 {
			t.Errorf("%v after %d attempts", err, n.Load())
		}
		n.Store(0)
		conn, err := numbered(&n, func(_ context.Context, attempt int32) (network.Conn, error) {
			if attempt > 1 {
				return nil, syscall.EADDRNOTAVAIL
			}
			time.Sleep(time.Second)
			return &fakeConn{}, nil
		}).Connect(t.Context(), insisted, nil)
		if err != nil || conn == nil {
			t.Errorf("%v, %v", conn, err)
		}
	})
}

// What comes too late is reset.
func TestInsistingLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		late := &fakeConn{}
		conn, err := numbered(&n, func(ctx context.Context, attempt int32) (network.Conn, error) {
			if attempt == 2 {
				return &fakeConn{}, nil
			}
			<-ctx.Done() // and connects all the same
			return late, nil
		}).Connect(t.Context(), insisted, nil)
		if err != nil || conn == network.Conn(late) || late.closed != 1 {
			t.Errorf("%v, closed %d", err, late.closed)
		}
	})
}

// A connection whose peer may be gone takes no more flows while there may be
// another, and what is on it says nothing of how many a peer takes.
func TestPoolSparesTheDoubted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPoolRig(t, static1("192.0.2.1:443"))
		doubt := func(is bool) {
			f := r.made()[0]
			f.mu.Lock()
			defer f.mu.Unlock()
			f.doubted = is
		}
		held, leaves := r.open(t), r.open(t)
		doubt(true)
		r.dial = func(context.Context) error { time.Sleep(time.Second); return nil }
		others := func() {
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() { _ = r.open(t).Close() }) // ends with the dial
			}
			synctest.Wait() // they stand in line
			_ = leaves.Close()
			all.Wait()
		}
		others()
		if n := len(r.made()); n != 2 {
			t.Errorf("%d connections, want another one", n)
		}
		r.made()[1].Close(nil)
		synctest.Wait()
		others()
		if n := len(r.made()); n != 3 {
			t.Errorf("%d connections, want one in the place of the other", n)
		}
		doubt(false)
		again := r.open(t)
		if n := r.made()[0].Room(); n != r.room-2 {
			t.Errorf("one that has answered has room for %d of %d", n, r.room)
		}
		_ = errors.Join(again.Close(), held.Close())
	})
}
