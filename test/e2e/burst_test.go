package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"testing"
	"time"

	"culvert/test/need"
	"culvert/test/peer"
)

// A burst of flows, all at once, is a burst of flows that all succeed.
func TestManyFlows(t *testing.T) {
	const (
		flows  = 1000
		within = exchangeWithin
	)
	need.OpenFiles(t, 4*flows)
	w := newWorld(t)
	capture, gateway := w.startBoth()
	address := net.JoinHostPort(origin4, "80")
	peer.Serve(t, w.origin.Listen("tcp", address), peer.Echo())
	start := time.Now()
	failed := burst(t, flows, within, func(ctx context.Context, i int) error {
		c, err := w.app.DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		defer peer.Within(ctx, within, c)()
		want := bytes.Repeat(fmt.Appendf(nil, "%08d", i), 1024/8)
		if _, err := c.Write(want); err != nil {
			return err
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			return err
		}
		got, err := io.ReadAll(c)
		if err == nil && !bytes.Equal(got, want) {
			err = fmt.Errorf("%d bytes came back, not those that were sent", len(got))
		}
		return err
	})
	t.Logf("%d flows in %v, over %d connections", flows, time.Since(start), capture.Stat("cluster.gateway.upstream_cx_total"))
	if len(failed) > 0 {
		t.Errorf("of %d flows: %v", flows, failed)
	}
	capture.awaitNoFlows()
	gateway.awaitNoFlows()
}

// A burst of connects to a closed port is a burst of refusals.
func TestManyRefusals(t *testing.T) {
	t.Parallel()
	const connects = 200
	w := newWorld(t)
	w.startBoth()
	for _, host := range []string{origin4, origin6} {
		failed := burst(t, connects, exchangeWithin, func(ctx context.Context, _ int) error {
			r := peer.Connect(ctx, w.app, "tcp", net.JoinHostPort(host, "1"), exchangeWithin)
			r.Close()
			return fmt.Errorf("%s", r.Outcome)
		})
		if want := (map[string]int{string(peer.Refused): connects}); !maps.Equal(failed, want) {
			t.Errorf("%s: %v, want %v", host, failed, want)
		}
	}
}

// burst does something n times at once, and counts the errors by their text.
func burst(t *testing.T, n int, within time.Duration, do func(ctx context.Context, i int) error) map[string]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	errs := make(chan error, n)
	for i := range n {
		go func() { errs <- do(ctx, i) }() // ends within the time
	}
	failed := map[string]int{}
	for range n {
		if err := <-errs; err != nil {
			failed[err.Error()]++
		}
	}
	return failed
}
