package endings

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"
	"culvert/test/impair"
	"culvert/test/need"
	"culvert/test/peer"
	"culvert/test/scale"
)

const (
	// noticed is within which a gateway that says nothing is noticed by PING, and
	// back is within which one that is there again is used: judged at full size.
	noticed, back = 10 * time.Second, time.Second
	// every is how often an application tries.
	every = 50 * time.Millisecond
)

// A gateway that falls silent is noticed by PING, and its flows are told so;
// when it is there again, new flows work within a second, although others have
// tried all the time.
func TestLoadGatewayVanishes(t *testing.T) {
	need.Long(t)
	clean := impair.Link{Delay: 2 * time.Millisecond}
	w := newWorld(t, clean, scale.For(connectTimeout, defaultTimeout))
	shared := w.http2()
	for _, way := range shared {
		peer.Serve(t, w.originAt(way.At), peer.Echo())
	}
	gateway := w.startGateway()
	var flows []net.Conn
	for _, way := range shared {
		flows = append(flows, w.open(way), w.open(way))
	}

	w.link.Set(impair.Link{Loss: 1})
	cut := time.Now()
	tries := w.tryAll(shared)
	slowest := awaitResets(t, flows)
	scale.Figure(t, "flows of a gateway that had vanished were reset after %v at the latest", slowest.Sub(cut).Round(time.Millisecond))
	if scale.Full() && slowest.Sub(cut) > noticed+time.Second {
		t.Errorf("reset after %v, want within %v", slowest.Sub(cut), noticed)
	}
	var all []time.Duration
	for i := range scale.Of(1, 10) {
		if i > 0 {
			w.link.Set(impair.Link{Loss: 1})
			time.Sleep(noticed) // the connections that were made meanwhile are given up
		}
		time.Sleep(1300 * time.Millisecond) // what those who try are in grows old
		w.link.Set(clean)
		took := w.awaitAll(shared)
		scale.Figure(t, "a new flow of each HTTP/2 mode worked %v after the gateway was back", took.Round(time.Millisecond))
		all = append(all, took)
	}
	// All but one in ten: what was under way when the link was cut, a handshake
	// half done, may be waited for until its time is over.
	slices.Sort(all)
	if usual, worst := all[len(all)*9/10-min(1, len(all)/10)], all[len(all)-1]; scale.Full() && (usual > back || worst > defaultTimeout+back) {
		t.Errorf("new flows worked %v after the gateway was back, once %v; want within %v", usual, worst, back)
	}
	tries()
	w.killGateway(gateway)
}

// A connection that died while nothing went over it costs no flow: the request
// that finds out is sent again on another.
func TestLoadDeadConnectionsCostNoFlow(t *testing.T) {
	need.Long(t)
	clean := impair.Link{Delay: 2 * time.Millisecond}
	w := newWorld(t, clean, scale.For(connectTimeout, defaultTimeout))
	for _, way := range w.settings.Ways {
		peer.Serve(t, w.originAt(way.At), peer.Echo())
	}
	gateway := w.startGateway()
	for range scale.Of(1, 10) {
		for _, way := range w.settings.Ways {
			_ = w.open(way).Close() // leaves a connection that is idle, where the mode shares them
		}
		w.link.Set(impair.Link{Loss: 1}) // nobody is told
		w.killGateway(gateway)
		gateway = w.startGateway()
		w.link.Set(clean)
		start := time.Now()
		for _, way := range w.settings.Ways {
			_ = w.open(way).Close()
		}
		scale.Figure(t, "a flow of each mode over connections that had died: %v in all", time.Since(start).Round(time.Millisecond))
	}
	w.killGateway(gateway)
}

// http2 are the modes whose connections carry many flows.
func (w *world) http2() (ways []way) {
	for _, way := range w.settings.Ways {
		if way.Proto == codec.HTTP2 {
			ways = append(ways, way)
		}
	}
	return ways
}

func (w *world) originAt(i int) net.Listener {
	w.t.Helper()
	return w.origin.Listen("tcp", net.JoinHostPort(originAddress, strconv.Itoa(originPorts+i)))
}

// open is a flow over which a byte has come back.
func (w *world) open(way way) net.Conn {
	w.t.Helper()
	c, err := w.try(w.t.Context(), way)
	if err != nil {
		w.t.Fatalf("%v: %v", way.Mode, err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

// try is open that may fail.
func (w *world) try(ctx context.Context, way way) (net.Conn, error) {
	r := peer.Connect(ctx, w.app, "tcp", net.JoinHostPort(originAddress, strconv.Itoa(way.Origin())), limit)
	if r.Err != nil {
		return nil, r.Err
	}
	b := []byte{'x'}
	err := r.Conn.SetDeadline(time.Now().Add(limit))
	if err == nil {
		_, err = r.Conn.Write(b)
	}
	if err == nil {
		_, err = io.ReadFull(r.Conn, b)
	}
	if err != nil {
		_ = r.Conn.Close()
		return nil, err
	}
	return r.Conn, nil
}

// tryAll lets an application of each mode connect all the time, each with little
// patience, until the function it returns is called.
func (w *world) tryAll(ways []way) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var all sync.WaitGroup
	for _, way := range ways {
		all.Go(func() { // ends with ctx
			for ctx.Err() == nil {
				all.Go(func() { // ends after a moment
					one, done := context.WithTimeout(ctx, time.Second)
					defer done()
					if c, err := w.try(one, way); err == nil {
						_ = c.Close()
					}
				})
				select {
				case <-time.After(every):
				case <-ctx.Done():
				}
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

// awaitAll is how long it takes until a flow of each mode works, when each is
// tried again and again.
func (w *world) awaitAll(ways []way) time.Duration {
	w.t.Helper()
	start := time.Now()
	var all sync.WaitGroup
	for _, way := range ways {
		all.Go(func() { // ends with the first that works, or with limit
			w.awaitOne(way, start)
		})
	}
	all.Wait()
	return time.Since(start)
}

func (w *world) awaitOne(way way, start time.Time) {
	ctx, done := context.WithTimeout(w.t.Context(), limit)
	defer done()
	worked := make(chan struct{}, 1)
	var tries sync.WaitGroup
	defer tries.Wait()
	for {
		tries.Go(func() { // ends with ctx
			if c, err := w.try(ctx, way); err == nil {
				_ = c.Close()
				select {
				case worked <- struct{}{}:
				default:
				}
			}
		})
		select {
		case <-worked:
			done()
			return
		case <-time.After(every):
		case <-ctx.Done():
			w.t.Errorf("%v: no flow works %v after the gateway was back", way.Mode, time.Since(start))
			return
		}
	}
}

// awaitResets is when the last of the flows was reset.
func awaitResets(t *testing.T, flows []net.Conn) time.Time {
	t.Helper()
	var all sync.WaitGroup
	for i, c := range flows {
		all.Go(func() { // ends with the flow, or with limit
			if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
				t.Error(err)
			}
			if i%2 == 0 { // one waits, one sends
				all.Go(func() { _, _ = io.Copy(c, zeros{}) }) // ends with the flow
			}
			if _, err := io.Copy(io.Discard, c); !network.IsReset(err) && err != nil {
				t.Error(fmt.Errorf("flow %d: %w", i, err))
			}
		})
	}
	all.Wait()
	return time.Now()
}

// zeros have no end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
