package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
)

// G28: streams share a connection while it has room, then there is another.
func TestG28PoolShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPoolRig(t, static1("192.0.2.1:443"))
		r.room = 2
		i := info()
		s, err := r.OpenStream(t.Context(), connectHead(), i)
		if err != nil {
			t.Fatal(err)
		}
		u := i.Upstream()
		if u.StreamID != 1 || u.ConnectionID == 0 || u.Protocol != "HTTP/2" || u.Host.String() != "192.0.2.1:443" || u.RemoteAddress.String() != "192.0.2.251:2" {
			t.Errorf("upstream %+v", u)
		}
		streams := []codec.ClientStream{s, r.open(t), r.open(t)}
		if len(r.made()) != 2 || r.value("upstream_cx_http2_total") != 2 || r.value("upstream_rq_total") != 3 || r.value("upstream_rq_active") != 3 {
			t.Errorf("%d connections, counted %d; %d requests, %d active", len(r.made()), r.value("upstream_cx_http2_total"), r.value("upstream_rq_total"), r.value("upstream_rq_active"))
		}
		for _, s := range streams {
			_ = s.Close()
		}
		_ = r.open(t).Close()
		if len(r.made()) != 2 {
			t.Error("an idle connection was not reused")
		}
		if r.value("upstream_rq_active") != 0 || r.breaker.requests.active.Load() != 0 {
			t.Errorf("active %d, breaker %d", r.value("upstream_rq_active"), r.breaker.requests.active.Load())
		}
	})
}

// Those who come while a connection is made wait for it instead of making one
// each.
func TestPoolSharesTheDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPoolRig(t, static1("192.0.2.1:443"))
		r.room = 60
		r.dial = func(context.Context) error { time.Sleep(second); return nil }
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { _ = r.open(t) })
		}
		synctest.Wait()
		if got := r.value("upstream_rq_pending_active"); got != 100 {
			t.Errorf("%d pending", got)
		}
		wg.Wait()
		// Two have room for all. How much room one has is known only when it
		// answers, and who asks meanwhile may have a few more made; never one each.
		if n := len(r.made()); n < 2 || n > 5 || r.value("upstream_cx_active") != int64(n) {
			t.Errorf("%d connections, %d active", n, r.value("upstream_cx_active"))
		}
		if r.value("upstream_rq_pending_active") != 0 || r.breaker.pending.active.Load() != 0 {
			t.Error("somebody still counts as pending")
		}
	})
}

func TestPoolDialFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPoolRig(t, static1("192.0.2.1:443"))
		var works atomic.Bool
		r.dial = func(context.Context) error {
			time.Sleep(second)
			if works.Load() {
				return nil
			}
			return errNope
		}
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				i := info()
				if _, err := r.OpenStream(t.Context(), connectHead(), i); !errors.Is(err, errNope) {
					t.Errorf("got %v", err)
				}
			})
		}
		wg.Wait()
		if r.value("upstream_cx_connect_fail") != 1 || r.value("upstream_rq_pending_failure_eject") != 5 || r.breaker.requests.active.Load() != 0 {
			t.Errorf("connect_fail %d, eject %d, requests %d", r.value("upstream_cx_connect_fail"), r.value("upstream_rq_pending_failure_eject"), r.breaker.requests.active.Load())
		}
		if len(r.allPools()) != 0 {
			t.Error("a pool without connections remains")
		}
		works.Store(true)
		_ = r.open(t).Close()
	})
}

// A waiter that leaves takes nothing from the others; the last one ends the
// dial, and whoever comes then starts another.
func TestPoolWaitersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPoolRig(t, static1("192.0.2.1:443"))
		var dials, ended atomic.Int32
		r.dial = func(ctx context.Context) error {
			dials.Add(1)
			select {
			case <-ctx.Done():
				ended.Add(1)
				return context.Cause(ctx)
			case <-time.After(3 * second):
				return nil
			}
		}
		early, cancelEarly := context.WithTimeout(t.Context(), second)
		defer cancelEarly()
		go func() { // ends with the dial
			if s, err := r.OpenStream(t.Context(), connectHead(), info()); err != nil {
				t.Errorf("the one who stayed: %v", err)
			} else {
				_ = s.Close()
			}
		}()
		if _, err := r.OpenStream(early, connectHead(), info()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the one who left: %v", err)
		}
		time.Sleep(5 * second)
		if dials.Load() != 1 || ended.Load() != 0 || r.value("upstream_rq_cancelled") != 1 {
			t.Errorf("%d dials, %d ended, cancelled %d", dials.Load(), ended.Load(), r.value("upstream_rq_cancelled"))
		}
		r.made()[0].end()
		synctest.Wait()

		alone, cancelAlone := context.WithTimeout(t.Context(), second)
		defer cancelAlone()
		_, _ = r.OpenStream(alone, connectHead(), info())
		_ = r.open(t).Close() // joins nothing that is being given up
		if dials.Load() != 3 || ended.Load() != 1 {
			t.Errorf("%d dials, %d ended", dials.Load(), ended.Load())
		}
	})
}

// A connection that did not take the request is not the end of it.
func TestPoolNotProcessed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPoolRig(t, static1("192.0.2.1:443"))
		_ = r.open(t).Close()
		first := r.made()[0]
		first.refuse = fmt.Errorf("draining: %w", codec.ErrNotProcessed)
		first.room = 1
		go func() { // the connection says so to others soon after; ends at once
			first.mu.Lock()
			defer first.mu.Unlock()
			first.drained = true
		}()
		synctest.Wait()
		_ = r.open(t).Close()
		if len(r.made()) != 2 {
			t.Errorf("%d connections", len(r.made()))
		}

		// Always: it gives up in the end.
		r.made()[1].refuse = codec.ErrNotProcessed
		if _, err := r.OpenStream(t.Context(), connectHead(), info()); !errors.Is(err, codec.ErrNotProcessed) {
			t.Errorf("got %v", err)
		}
		// Anything else: at once, and nothing is held.
		r.made()[1].refuse = errNope
		if _, err := r.OpenStream(t.Context(), connectHead(), info()); !errors.Is(err, errNope) {
			t.Errorf("got %v", err)
		}
		if r.breaker.requests.active.Load() != 0 || r.value("upstream_rq_active") != 0 {
			t.Error("a place is lost")
		}
	})
}

// G17, FB21: a connection that ends is replaced.
func TestG17FB21ConnectionReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPoolRig(t, static1("192.0.2.1:443"))
		s := r.open(t)
		r.made()[0].Drain() // as GOAWAY does
		_ = r.open(t).Close()
		if len(r.made()) != 2 {
			t.Fatalf("%d connections", len(r.made()))
		}
		_ = s.Close()
		synctest.Wait()
		if r.value("upstream_cx_destroy") != 1 || r.value("upstream_cx_active") != 1 {
			t.Errorf("destroyed %d, active %d", r.value("upstream_cx_destroy"), r.value("upstream_cx_active"))
		}
		r.made()[1].end()
		synctest.Wait()
		if len(r.allPools()) != 0 || r.breaker.connections.active.Load() != 0 {
			t.Error("a pool without connections remains")
		}
	})
}

func TestMaxRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := static1("192.0.2.1:443")
		m.CircuitBreakers = &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{MaxRequests: u32(1), MaxPendingRequests: u32(0)}}}
		r := newPoolRig(t, m)
		if _, err := r.OpenStream(t.Context(), connectHead(), info()); network.ReasonFor(err) != network.ReasonOverflow {
			t.Errorf("no place to wait: %v", err)
		}
		synctest.Wait()
		r.breaker.pending.max = 1
		s := r.open(t)
		if _, err := r.OpenStream(t.Context(), connectHead(), info()); network.ReasonFor(err) != network.ReasonOverflow {
			t.Errorf("a second request: %v", err)
		}
		if r.value("circuit_breakers.default.rq_open") != 1 || r.value("circuit_breakers.default.cx_open") != 0 {
			t.Error("rq_open and cx_open do not show it")
		}
		if got := r.value("upstream_rq_pending_overflow"); got != 2 {
			t.Errorf("upstream_rq_pending_overflow %d", got)
		}
		_ = s.Close()
		_ = r.open(t).Close()
	})
}

func TestMaxConcurrentStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPoolRig(t, static1("192.0.2.1:443"))
		r.http.maxStreams = 1
		a, b := r.open(t), r.open(t)
		if len(r.made()) != 2 {
			t.Errorf("%d connections", len(r.made()))
		}
		_, _ = a.Close(), b.Close()
	})
}

// What a client chose is checked for each stream, not only for each dial.
func TestPoolAsksPolicyEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPoolRig(t, originalDstCluster(&clusterv3.Cluster_OriginalDstLbConfig{UseHttpHeader: true, HttpHeaderName: ":authority"}))
		open := func(arrived string) error {
			i := info()
			i.LocalAddress, i.DirectLocalAddress = at(arrived), at(arrived)
			_, err := r.OpenStream(t.Context(), &codec.Request{Method: "GET", Authority: "127.0.0.1:80"}, i)
			return err
		}
		if err := open("127.0.0.1:10000"); err != nil {
			t.Fatal(err)
		}
		if err := open("192.0.2.1:10000"); network.ReasonFor(err) != network.ReasonProhibited {
			t.Errorf("a connection made for another was used: %v", err)
		}
	})
}
