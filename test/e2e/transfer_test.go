package e2e

import (
	"context"
	"net"
	"testing"
	"time"

	"culvert/test/peer"
	"culvert/test/program"
)

// transferSize is what each direction carries in TestTransfer, bytes.
func transferSize() int64 {
	switch {
	case program.Race:
		return 32 << 20
	case testing.Short():
		return 256 << 20
	}
	return 1 << 30
}

// A transfer each way at once arrives byte for byte, and both ends end well.
func TestTransfer(t *testing.T) {
	const within = 2 * time.Minute
	w := newWorld(t)
	capture, gateway := w.startBoth()
	for name, address := range map[string]string{"IPv4": origin4, "IPv6": origin6} {
		t.Run(name, func(t *testing.T) {
			up, down := peer.Stream{Seed: 1, Size: transferSize()}, peer.Stream{Seed: 2, Size: transferSize()}
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			address := net.JoinHostPort(address, "80")
			srv := peer.Serve(t, w.origin.Listen("tcp", address), peer.Exchange(down, up))
			conn, err := w.app.DialContext(ctx, "tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			defer peer.Within(ctx, within, conn)()
			if err := peer.Exchange(up, down)(ctx, conn); err != nil {
				t.Errorf("app: %v", err)
			}
			if err := srv.Result(ctx); err != nil {
				t.Errorf("origin: %v", err)
			}
			took := time.Since(start)
			t.Logf("%d MiB each way in %.1f s, %.0f MB/s in all", transferSize()>>20, took.Seconds(),
				float64(2*transferSize())/1e6/took.Seconds())
		})
	}
	capture.awaitNoFlows()
	gateway.awaitNoFlows()
}
