package hcm

import (
	"context"
	"io"
	"strings"
	"testing"

	"culvert/proxy/network"
	"culvert/tunnel"
)

// What serves a tunnel behind an internal listener moves it in chunks, in every
// mode, as the relay of a connection would; and every byte is counted.
func TestServedTunnelKeepsTheFastPath(t *testing.T) {
	const size = 1 << 20
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		origin := tcpOrigin(t, echo)
		paths := make(chan string, 2)
		handler := network.HandlerFunc(func(ctx context.Context, f network.Flow) error {
			up, _, err := origin.open(ctx, f.Info())
			if err != nil {
				return err
			}
			down, err := f.Accept(ctx)
			if err != nil {
				up.Abort(err)
				return err
			}
			paths <- network.PathName(down, up)
			paths <- network.PathName(up, down)
			return network.Relay(ctx, down, up, network.RelayOptions{Meter: &f.Info().Meter}).Err
		})
		c := fakeCluster{open: func(_ context.Context, info *network.StreamInfo) (network.Conn, network.Handler, error) {
			info.SetUpstream(&network.UpstreamInfo{RemoteAddress: network.InternalAddress("inner", "")})
			return nil, handler, nil
		}}
		w := serve(t, with(terminateRoute+","+postRoute, ""), c, m.Secure)
		s := w.tunnelOf(m)
		for range 2 {
			if path := <-paths; path != "chunk" && !m.Secure {
				t.Errorf("moved by %s", path)
			}
		}
		go func() { // ends with the tunnel
			_, _ = io.WriteString(s, strings.Repeat("x", size))
			_ = s.CloseWrite()
		}()
		if n, err := io.Copy(io.Discard, s); n != size || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		_ = s.Close()
		info := w.lastExchange()
		if r, n := info.Meter.BytesReceived(), info.Meter.BytesSent(); r != size || n != size {
			t.Errorf("counted %d and %d bytes, want %d each", r, n, size)
		}
		if b := info.UpstreamBytes(); b.Sent != size || b.Received != size {
			t.Errorf("upstream: %+v", b)
		}
	})
}
