package load

import (
	"context"
	"net"
	"testing"
	"time"

	"culvert/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// serve runs a server of the test until it ends.
func serve(t *testing.T, run func(context.Context, net.Listener)) Dial {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { run(ctx, ln); close(done) }() // ends with ctx
	t.Cleanup(func() { cancel(); <-done })
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", ln.Addr().String())
	}
}

var kinds = []Kind{Down, Up, Connect, PingPong}

func TestLoads(t *testing.T) {
	dial := serve(t, Origin)
	for _, k := range kinds {
		l := Load{Kind: k, Streams: 3, Duration: 50 * time.Millisecond}
		r, err := l.Run(t.Context(), dial)
		if err != nil {
			t.Errorf("%v: %v", l, err)
		}
		bulk := k == Down || k == Up
		if bulk != (r.Bytes > 0) || bulk == (r.Turns > 0) || bulk == (r.P99 >= r.P50 && r.P50 > 0) || r.Connected <= 0 || r.Elapsed < l.Duration {
			t.Errorf("%v: %+v", l, r)
		}
	}
	if _, err := (Load{Kind: "idle", Streams: 1}).Run(t.Context(), dial); err == nil {
		t.Error("what is no load has a result")
	}
}

// A load that is not served is no measurement.
func TestLoadsNoticeLoss(t *testing.T) {
	dial := serve(t, func(ctx context.Context, ln net.Listener) {
		defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, orderBytes))
			_ = c.Close()
		}
	})
	for _, k := range kinds {
		for _, d := range []time.Duration{0, 50 * time.Millisecond} {
			if r, err := (Load{Kind: k, Streams: 1, Duration: d}).Run(t.Context(), dial); err == nil {
				t.Errorf("%v for %v: a connection that was only closed gives %+v", k, d, r)
			}
		}
	}
}

func TestQuantile(t *testing.T) {
	d := []time.Duration{4, 1, 3, 2, 5, 6, 7, 8, 9, 10}
	if p50, p99 := quantile(d, 0.5), quantile(d, 0.99); p50 != 6 || p99 != 10 {
		t.Errorf("p50 %d, p99 %d", p50, p99)
	}
	if quantile(nil, 0.5) != 0 {
		t.Error("nothing takes time")
	}
}
