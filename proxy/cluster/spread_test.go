package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
)

// far is a round trip that is long, and handshake what a connection takes.
const (
	far       = 50 * time.Millisecond
	handshake = 2 * far
)

// farRig is a pool whose peer is far away, and may change its mind.
type farRig struct {
	*poolRig
	answers atomic.Pointer[func(context.Context) error]
	hangsUp atomic.Bool  // as soon as a connection is made
	ahead   atomic.Int32 // connections that h2 is told were made ahead
}

func newFarRig(t *testing.T, m *clusterv3.Cluster) *farRig {
	t.Helper()
	r := &farRig{poolRig: newPoolRig(t, m)}
	r.path = far
	r.dial = func(ctx context.Context) error { return (*r.answers.Load())(ctx) }
	r.answer(func(ctx context.Context) error {
		select {
		case <-time.After(handshake):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	plain := r.newConn
	r.newConn = func(c network.Conn, p codec.Proto, s *httpSettings, id uint64, closed func()) httpConn {
		f := plain(c, p, s, id, closed)
		if s.h2.MadeAhead {
			r.ahead.Add(1)
		}
		if r.hangsUp.Load() {
			f.(*fakeHTTP).end()
		}
		return f
	}
	return r
}

// answer is what becomes of dials from now on.
func (r *farRig) answer(how func(context.Context) error) { r.answers.Store(&how) }

// loads are how many streams each connection carries that is not over, sorted.
func (r *farRig) loads() []int {
	var loads []int
	for _, f := range r.made() {
		select {
		case <-f.closed:
			continue
		default:
		}
		f.mu.Lock()
		loads = append(loads, f.streams)
		f.mu.Unlock()
	}
	slices.Sort(loads)
	return loads
}

func (r *farRig) wantLoads(t *testing.T, when string, want ...int) {
	t.Helper()
	synctest.Wait()
	if got := r.loads(); !slices.Equal(got, want) {
		t.Errorf("%s: connections carry %d, want %d", when, got, want)
	}
}

// opened is a burst: n streams asked for at once, and how long the last waited.
func (r *farRig) opened(t *testing.T, n int) (streams []codec.ClientStream, took time.Duration) {
	t.Helper()
	began := time.Now()
	streams = make([]codec.ClientStream, n)
	var wg sync.WaitGroup
	for i := range streams {
		wg.Go(func() { // ends with its stream
			s, err := r.OpenStream(t.Context(), connectHead(), info())
			if err != nil {
				t.Errorf("stream %d of %d: %v", i, n, err)
				return
			}
			streams[i] = s
		})
	}
	wg.Wait()
	return streams, time.Since(began)
}

func closeAll(streams []codec.ClientStream) {
	for _, s := range streams {
		if s != nil {
			_ = s.Close()
		}
	}
}

// Over a long path each stream has a connection of its own while there are few,
// made before it is asked for; then they share evenly.
func TestSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFarRig(t, static1("192.0.2.1:443"))
		var streams []codec.ClientStream
		for n := 1; n <= 19; n++ {
			began := time.Now()
			streams = append(streams, r.open(t))
			if d := time.Since(began); n > 1 && d != 0 {
				t.Errorf("stream %d waited %v", n, d)
			}
			time.Sleep(second)
			if got, want := len(r.loads()), min(spreadConns, spreadAhead*n); got != want {
				t.Errorf("%d connections for %d streams, want %d", got, n, want)
			}
		}
		r.wantLoads(t, "19 streams", 2, 2, 2, 2, 2, 3, 3, 3)
		if got := r.value("upstream_cx_spread"); got != spreadConns-1 {
			t.Errorf("upstream_cx_spread %d", got)
		}
		if got := r.ahead.Load(); got != spreadConns-1 { // the first was waited for
			t.Errorf("h2 is told of %d connections that they were made ahead", got)
		}
		closeAll(streams)
	})
}

// Over a short path, or one of unknown length, one connection carries them all;
// nor is HTTP/1.1 spread, which has a connection for each.
func TestShortPathsAreNotSpread(t *testing.T) {
	for _, path := range []time.Duration{0, longPath - 1} {
		synctest.Test(t, func(t *testing.T) {
			r := newFarRig(t, static1("192.0.2.1:443"))
			r.path = path
			streams, took := r.opened(t, 20)
			time.Sleep(second)
			r.wantLoads(t, path.String(), 20)
			if took != handshake || r.value("upstream_cx_spread") != 0 {
				t.Errorf("%v: a burst took %v, upstream_cx_spread %d", path, took, r.value("upstream_cx_spread"))
			}
			closeAll(streams)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		r := newFarRig(t, static1("192.0.2.1:443"))
		r.http.speaks, r.room = speaksHTTP1, 1
		streams, _ := r.opened(t, 3)
		time.Sleep(second)
		r.wantLoads(t, "HTTP/1.1", 1, 1, 1)
		closeAll(streams)
	})
}

// A burst that comes before there are connections waits for them.
func TestSpreadBurstWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFarRig(t, static1("192.0.2.1:443"))
		streams, took := r.opened(t, spreadConns)
		r.wantLoads(t, "a burst", 1, 1, 1, 1, 1, 1, 1, 1)
		if took != 2*handshake { // the first one says how far it is
			t.Errorf("it took %v", took)
		}
		closeAll(streams)

		streams, took = r.opened(t, 3*spreadConns)
		r.wantLoads(t, "the next", 3, 3, 3, 3, 3, 3, 3, 3)
		if took != 0 {
			t.Errorf("it took %v", took)
		}
		closeAll(streams)
	})
}

// It does not wait for long: then it shares.
func TestSpreadBurstLosesPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFarRig(t, static1("192.0.2.1:443"))
		_ = r.open(t).Close()
		time.Sleep(second)
		r.answer(hangs)
		streams, took := r.opened(t, 10)
		synctest.Wait()
		if took != patienceTrips*far {
			t.Errorf("it waited %v", took)
		}
		r.wantLoads(t, "then", 5, 5) // the second one was made for the first stream
		closeAll(streams)
	})
}

// Who comes after a burst was served waits as long as anybody.
func TestSpreadPatienceBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFarRig(t, static1("192.0.2.1:443"))
		_ = r.open(t).Close()
		time.Sleep(second)
		streams, _ := r.opened(t, spreadConns)
		for _, f := range r.made()[1:] {
			f.mu.Lock()
			f.drained = true
			f.mu.Unlock()
		}
		time.Sleep(patienceTrips*far - handshake - far/2) // then the burst's was over
		more, took := r.opened(t, spreadConns-1)
		if took != handshake {
			t.Errorf("it took %v", took)
		}
		r.wantLoads(t, "the others drain", slices.Repeat([]int{1}, 2*spreadConns-1)...)
		closeAll(append(streams, more...))
	})
}

func hangs(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }

// A connection that cannot be made costs nobody a stream while there is one to
// share, nor much time; and the peer is left alone for a while.
func TestSpreadFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFarRig(t, static1("192.0.2.1:443"))
		r.room = 3 * spreadConns
		_ = r.open(t).Close()
		time.Sleep(second)
		var dials atomic.Int64
		r.answer(func(context.Context) error {
			dials.Add(1)
			time.Sleep(far)
			return errNope
		})
		streams, took := r.opened(t, 10)
		if took != far {
			t.Errorf("a burst took %v", took)
		}
		before := dials.Load()
		for range 10 {
			streams = append(streams, r.open(t))
		}
		if n := dials.Load(); n > spreadConns || n != before {
			t.Errorf("%d connections were tried, then %d", before, n-before)
		}
		r.answer(func(context.Context) error { return nil })
		time.Sleep(growPause)
		streams = append(streams, r.open(t))
		synctest.Wait()
		if n := len(r.loads()); n != spreadConns {
			t.Errorf("%d connections after the pause", n)
		}
		closeAll(streams)
	})
}

// A peer that ends connections as soon as they are made is not asked for more and
// more of them.
func TestSpreadEndedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFarRig(t, static1("192.0.2.1:443"))
		first := r.open(t)
		synctest.Wait()
		r.hangsUp.Store(true)
		streams, _ := r.opened(t, 10)
		time.Sleep(growPause / 2)
		if n := len(r.made()); n > 2*spreadConns {
			t.Errorf("%d connections were made", n)
		}
		closeAll(append(streams, first))
	})
}

// A circuit breaker is how an operator keeps one connection.
func TestSpreadKeepsMaxConnections(t *testing.T) {
	for _, limit := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			m := static1("192.0.2.1:443")
			m.CircuitBreakers = &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{MaxConnections: u32(uint32(limit))}}}
			r := newFarRig(t, m)
			streams, took := r.opened(t, 12)
			time.Sleep(second)
			synctest.Wait()
			if n := len(r.loads()); n != limit || r.value("upstream_cx_overflow") != 0 {
				t.Errorf("%d connections, want %d; overflow %d", n, limit, r.value("upstream_cx_overflow"))
			}
			if limit == 1 && took != handshake {
				t.Errorf("a burst took %v", took)
			}
			closeAll(streams)
		})
	}
}

// Whoever may not wait shares at once.
func TestSpreadPendingLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := static1("192.0.2.1:443")
		m.CircuitBreakers = &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{MaxPendingRequests: u32(1)}}}
		r := newFarRig(t, m)
		_ = r.open(t).Close()
		time.Sleep(second)
		streams, _ := r.opened(t, 10)
		if n := r.value("upstream_rq_pending_overflow"); n != 0 {
			t.Errorf("%d were refused", n)
		}
		closeAll(streams)
	})
}

// What was made ahead and is not needed ends; one stays, and what the streams
// that are open ask for.
func TestSpreadShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFarRig(t, static1("192.0.2.1:443"))
		streams, _ := r.opened(t, 8)
		closeAll(streams[2:])
		time.Sleep(spareIdle / 2)
		r.wantLoads(t, "soon after", 0, 0, 0, 0, 0, 0, 1, 1)
		time.Sleep(2 * spareIdle)
		r.wantLoads(t, "with two streams", 0, 0, 1, 1)
		made := len(r.made())
		time.Sleep(time.Hour)
		r.wantLoads(t, "much later", 0, 0, 1, 1)
		if n := len(r.made()); n != made {
			t.Errorf("%d were made meanwhile", n-made)
		}
		closeAll(streams[:2])
		time.Sleep(2*spareIdle + second)
		r.wantLoads(t, "idle", 0)
	})
}

// A configuration that was replaced keeps no connection that nobody uses.
func TestSpreadQuiesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFarRig(t, static1("192.0.2.1:443"))
		s := r.open(t) // another one is being made
		r.Quiesce()
		time.Sleep(second)
		r.wantLoads(t, "quiesced", 1)
		more := r.open(t)
		time.Sleep(second)
		r.wantLoads(t, "a stream more", 2)
		_, _ = s.Close(), more.Close()
		synctest.Wait()
		if n, pools := r.value("upstream_cx_spread"), len(r.allPools()); n != 1 || pools != 0 {
			t.Errorf("%d connections were made ahead, %d pools remain", n, pools)
		}
	})
}

// One that may be gone, or takes no more streams, is neither used nor counted.
func TestSpreadAvoids(t *testing.T) {
	for name, spoil := range map[string]func(*fakeHTTP){
		"doubted":  func(f *fakeHTTP) { f.doubted = true },
		"draining": func(f *fakeHTTP) { f.drained = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newFarRig(t, static1("192.0.2.1:443"))
				streams, _ := r.opened(t, 8)
				spoiled := r.made()[:4]
				for _, f := range spoiled {
					f.mu.Lock()
					spoil(f)
					f.mu.Unlock()
				}
				more, _ := r.opened(t, 8)
				for i, f := range spoiled {
					f.mu.Lock()
					if f.streams != 1 {
						t.Errorf("connection %d carries %d", i, f.streams)
					}
					f.mu.Unlock()
				}
				if n := len(r.made()); n != 12 {
					t.Errorf("%d connections were made", n)
				}
				closeAll(append(streams, more...))
			})
		})
	}
}

// Streams that come and go at once lose no place.
func TestSpreadChurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFarRig(t, static1("192.0.2.1:443"))
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() { // ends after its streams
				for j := range 20 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%7)*far/2+far/4)
					if s, err := r.OpenStream(ctx, connectHead(), info()); err == nil {
						time.Sleep(time.Duration((i*31+j*17)%100) * time.Millisecond)
						_ = s.Close()
					} else if ctx.Err() == nil {
						t.Error(fmt.Errorf("stream %d of %d: %w", j, i, err))
					}
					cancel()
				}
			})
		}
		wg.Wait()
		if a, p := r.breaker.requests.active.Load(), r.breaker.pending.active.Load(); a != 0 || p != 0 {
			t.Errorf("%d requests, %d pending", a, p)
		}
		time.Sleep(3 * spareIdle)
		synctest.Wait()
		if n := len(r.loads()); n != 1 || r.breaker.connections.active.Load() != 1 {
			t.Errorf("%d connections, %d in the breaker", n, r.breaker.connections.active.Load())
		}
	})
}
