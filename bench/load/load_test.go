package load

import (
	"bufio"
	"context"
	"net"
	"strings"
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

var loads = []Load{
	{Kind: Down}, {Kind: Up}, {Kind: Connect}, {Kind: PingPong},
	{Kind: Requests, Size: 1 << 10}, {Kind: Requests, Size: 1<<20 + 1}, {Kind: Burst, Size: 1 << 10}, {Kind: Idle},
}

func TestLoads(t *testing.T) {
	dial := serve(t, Origin)
	for _, l := range loads {
		l.Streams, l.Duration = 3, 50*time.Millisecond
		r, err := l.Run(t.Context(), dial)
		if err != nil {
			t.Errorf("%v: %v", l, err)
		}
		bulk := l.Kind == Down || l.Kind == Up
		if (bulk || l.Size > 0) != (r.Bytes > 0) || bulk == (r.Turns > 0) {
			t.Errorf("%v: %+v", l, r)
		}
		if l.Kind == Burst || l.Kind == Idle { // once each, however long it takes
			if r.Turns != l.Streams {
				t.Errorf("%v: %+v", l, r)
			}
			continue
		}
		if bulk == (r.P99 >= r.P50 && r.P50 > 0) || r.Connected <= 0 || r.Elapsed < l.Duration {
			t.Errorf("%v: %+v", l, r)
		}
	}
	if _, err := (Load{Kind: "none", Streams: 1}).Run(t.Context(), dial); err == nil {
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
	for _, l := range loads {
		for _, l.Duration = range []time.Duration{0, 50 * time.Millisecond} {
			l.Streams = 1
			if r, err := l.Run(t.Context(), dial); err == nil {
				t.Errorf("%v for %v: a connection that was only closed gives %+v", l, l.Duration, r)
			}
		}
	}
}

// Idle connections are open while they are held, and one that is lost meanwhile
// is noticed.
func TestIdleAreHeld(t *testing.T) {
	up, end := context.WithCancel(t.Context())
	dial := serve(t, func(ctx context.Context, ln net.Listener) {
		defer context.AfterFunc(ctx, end)()
		Origin(up, ln)
	})
	held := 0
	l := Load{Kind: Idle, Streams: 2*opening + 1, Hold: func(context.Context) { held++ }}
	if r, err := l.Run(t.Context(), dial); err != nil || held != 1 || r.Turns != l.Streams {
		t.Fatalf("held %d times, %+v, %v", held, r, err)
	}
	l.Hold = func(context.Context) { end() }
	if r, err := l.Run(t.Context(), dial); err == nil {
		t.Errorf("connections that were lost give %+v", r)
	}
}

// A load is named by what it does, not by how long or how often.
func TestNames(t *testing.T) {
	for want, l := range map[string]Load{
		"down":                  {Kind: Down, Streams: 1, Duration: time.Second},
		"up × 8":                {Kind: Up, Streams: 8},
		"requests of 1 MiB × 8": {Kind: Requests, Streams: 8, Size: 1 << 20},
		"burst of 1 KiB × 3000": {Kind: Burst, Streams: 3000, Size: 1 << 10},
		"idle":                  {Kind: Idle, Streams: 10_000},
	} {
		if l.String() != want {
			t.Errorf("%q, want %q", l, want)
		}
	}
}

// An answer that is no page of the right size is none.
func TestPagesAreChecked(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd",
		"HTTP/1.1 200 OK\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
	} {
		if err := readPage(bufio.NewReader(strings.NewReader(answer)), 3); err == nil {
			t.Errorf("%q is a page of 3 bytes", answer)
		}
	}
	if err := readPage(bufio.NewReader(strings.NewReader("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc")), 3); err != nil {
		t.Error(err)
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
