package tunnel_test

import (
	"testing"
	"time"

	"culvert/test/peer"
	"culvert/tunnel"
	"culvert/tunnel/tunneltest"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func attempts(n uint32) *tcpproxyv3.TcpProxy {
	return &tcpproxyv3.TcpProxy{MaxConnectAttempts: wrapperspb.UInt32(n)}
}

// The first connection dies before its answer, the second attempt is on another;
// what waited is delivered once.
func TestG33SecondAttempt(t *testing.T) {
	withBackoff := attempts(2)
	withBackoff.BackoffOptions = &corev3.BackoffStrategy{BaseInterval: durationpb.New(10 * time.Millisecond)}
	for name, config := range map[string]*tcpproxyv3.TcpProxy{"G33 FB08 at once": attempts(2), "G33 FB09 with backoff": withBackoff} {
		t.Run(name, func(t *testing.T) {
			tunneltest.ForEachMode(t, func(t *testing.T, m tunnel.Mode) {
				gw := tunneltest.NewGateway(t, m, peer.InTurn(func(r *peer.Request) { r.HangUp() }, peer.EchoTunnel()))
				c := tunneltest.Start(t, gw, tunneltest.Options{Proxy: config, Format: "%UPSTREAM_REQUEST_ATTEMPT_COUNT% %RESPONSE_FLAGS%\n"})
				app := c.App()
				tunneltest.RoundTrip(t, app, "once")
				finish(t, app)
				if got := c.Records(1); got != "2 UF\n" {
					t.Errorf("record %q", got)
				}
				if got := gw.Connections(); got != 2 {
					t.Errorf("%d connections", got)
				}
			})
		})
	}
}

// Every attempt fails, and there is none beyond the last.
func TestG34EveryAttemptFails(t *testing.T) {
	tunneltest.ForEachMode(t, func(t *testing.T, m tunnel.Mode) {
		gw := tunneltest.NewGateway(t, m, func(r *peer.Request) { r.HangUp() })
		c := tunneltest.Start(t, gw, tunneltest.Options{Proxy: attempts(3), Format: "%UPSTREAM_REQUEST_ATTEMPT_COUNT% %RESPONSE_FLAGS%\n"})
		if err := c.Refused("early"); !tunneltest.IsReset(err) {
			t.Errorf("the application sees %v", err)
		}
		if got := c.Records(1); got != "3 UF,URX\n" {
			t.Errorf("record %q", got)
		}
		if got := c.Value("cluster.edge.upstream_cx_connect_attempts_exceeded"); got != 1 {
			t.Errorf("upstream_cx_connect_attempts_exceeded %d", got)
		}
		if got := gw.Connections(); got != 3 {
			t.Errorf("%d connections", got)
		}
	})
}
