package tunnel_test

import (
	"crypto/tls"
	"io"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/test/peer"
	"culvert/tunnel"
	"culvert/tunnel/tunneltest"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Behaviour: a gateway that vanishes without a word is noticed by PING, and its
// tunnels end with a reset. By default within 10 s; here sooner. HTTP/1.1 has
// no PING: there it is TCP's keepalive that notices.
func TestGatewayVanishes(t *testing.T) {
	tunneltest.ForModes(t, tunnel.Mode.Shared, func(t *testing.T, m tunnel.Mode) {
		tunneltest.InTime(t, func(d time.Duration) bool {
			gw := tunneltest.NewGateway(t, m, func(r *peer.Request) {
				_ = r.Respond(200, false)
				if _, err := r.Receive(); err != nil {
					return
				}
				_ = r.Send([]byte("x"), false)
				r.Vanish()
			})
			c := tunneltest.Start(t, gw, tunneltest.Options{HTTP2: &corev3.Http2ProtocolOptions{ConnectionKeepalive: &corev3.KeepaliveSettings{
				Interval: durationpb.New(d), Timeout: durationpb.New(d),
			}}})
			app := c.App()
			_, _ = io.WriteString(app, "x")
			if _, err := io.ReadFull(app, make([]byte, 1)); err != nil {
				return false // the gateway was too slow before it vanished
			}
			if _, err := app.Read(make([]byte, 1)); !tunneltest.IsReset(err) {
				t.Errorf("the application sees %v", err)
			}
			c.Eventually("cluster.edge.http2.keepalive_timeout", 1)
			return true
		})
	})
}

// The gateway is not there, or not who it should be.
func TestGatewayDown(t *testing.T) {
	secure := func(m tunnel.Mode) bool { return m.Secure }
	tests := []struct {
		name string
		in   func(tunnel.Mode) bool
		make func(t *testing.T, m tunnel.Mode) (*tunneltest.Gateway, *tlsv3.UpstreamTlsContext)
	}{
		{"nobody listens", nil, func(t *testing.T, m tunnel.Mode) (*tunneltest.Gateway, *tlsv3.UpstreamTlsContext) {
			gw := tunneltest.NewGateway(t, m, peer.EchoTunnel())
			gw.Close()
			return gw, nil
		}},
		{"another CA", secure, func(t *testing.T, m tunnel.Mode) (*tunneltest.Gateway, *tlsv3.UpstreamTlsContext) {
			gw := tunneltest.NewGateway(t, m, peer.EchoTunnel())
			other := tunneltest.NewGateway(t, m, peer.EchoTunnel())
			return gw, other.Trust()
		}},
		{"another protocol", secure, func(t *testing.T, m tunnel.Mode) (*tunneltest.Gateway, *tlsv3.UpstreamTlsContext) {
			other := m
			other.Proto = codec.HTTP2 + codec.HTTP11 - m.Proto
			gw := tunneltest.NewGateway(t, other, peer.EchoTunnel())
			gw.Mode = m
			return gw, nil
		}},
		{"no TLS", secure, func(t *testing.T, m tunnel.Mode) (*tunneltest.Gateway, *tlsv3.UpstreamTlsContext) {
			clear := m
			clear.Secure = false
			gw := tunneltest.NewGateway(t, clear, peer.EchoTunnel())
			gw.Mode = m
			return gw, tunneltest.NewGateway(t, m, peer.EchoTunnel()).Trust()
		}},
		{"TLS too old", secure, func(t *testing.T, m tunnel.Mode) (*tunneltest.Gateway, *tlsv3.UpstreamTlsContext) {
			return tunneltest.NewTLSGateway(t, m, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, peer.EchoTunnel()), nil
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			which := tt.in
			if which == nil {
				which = func(tunnel.Mode) bool { return true }
			}
			tunneltest.ForModes(t, which, func(t *testing.T, m tunnel.Mode) {
				gw, trust := tt.make(t, m)
				o := tunneltest.Options{TLS: trust, Format: "%RESPONSE_FLAGS%\n"}
				if tt.name == "no TLS" {
					o.Connect = time.Second // a gateway may wait for the end of what it takes for a head
				}
				c := tunneltest.Start(t, gw, o)
				if err := c.Refused(""); !tunneltest.IsReset(err) {
					t.Errorf("the application sees %v", err)
				}
				if got := c.Records(1); got != "UF,URX\n" {
					t.Errorf("record %q", got)
				}
				if m.Shared() || tt.name != "another protocol" { // HTTP/1.1 offers no ALPN, and learns it from the answer
					c.Eventually("cluster.edge.upstream_cx_connect_fail", 1)
				}
				if got := c.Ended().Verdict; got != "net unreachable" {
					t.Errorf("verdict %q: a gateway that is down is not a destination that refuses", got)
				}
			})
		})
	}
}
