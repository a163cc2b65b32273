package tunnel_test

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"culvert/test/peer"
	"culvert/tunnel"
	"culvert/tunnel/tunneltest"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func connectMode(mode tcpproxyv3.UpstreamConnectMode) *tcpproxyv3.TcpProxy {
	return &tcpproxyv3.TcpProxy{UpstreamConnectMode: mode, MaxEarlyDataBytes: wrapperspb.UInt32(1024)}
}

// H21, H25: nothing is asked of the gateway before the first byte, which is then
// the first in the tunnel.
func TestH21H25OnDownstreamData(t *testing.T) {
	tunneltest.ForEachMode(t, func(t *testing.T, m tunnel.Mode) {
		gw := tunneltest.NewGateway(t, m, peer.EchoTunnel())
		c := tunneltest.Start(t, gw, tunneltest.Options{Proxy: connectMode(tcpproxyv3.UpstreamConnectMode_ON_DOWNSTREAM_DATA)})
		silent := c.App()
		if word, err := c.Visit(""); err != nil || word != "" {
			t.Errorf("who says nothing sees %q, %v", word, err)
		}
		if got := gw.Connections(); got != 0 {
			t.Errorf("%d connections before the first byte", got)
		}
		tunneltest.RoundTrip(t, silent, "hello")
		finish(t, silent)
		if got := c.Value("tcp.t.early_data_received_count_total"); got != 1 {
			t.Errorf("early_data_received_count_total %d", got)
		}
	})
}

// H26: nothing is asked of the gateway before the application's TLS handshake is
// over; without TLS there is nothing to wait for.
func TestH26OnDownstreamTLSHandshake(t *testing.T) {
	mode := connectMode(tcpproxyv3.UpstreamConnectMode_ON_DOWNSTREAM_TLS_HANDSHAKE)
	ca := peer.NewCA(t)
	cert, key := ca.IssuePEM("app.example")
	inline := func(b []byte) *corev3.DataSource {
		return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: b}}
	}
	downstream := &tlsv3.DownstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{
		TlsCertificates: []*tlsv3.TlsCertificate{{CertificateChain: inline(cert), PrivateKey: inline(key)}},
	}}
	tunneltest.ForEachMode(t, func(t *testing.T, m tunnel.Mode) {
		gw := tunneltest.NewGateway(t, m, peer.EchoTunnel())
		c := tunneltest.Start(t, gw, tunneltest.Options{Proxy: mode, Downstream: downstream})
		conn, err := net.Dial("tcp", c.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(tunneltest.Limit))
		tunneltest.Await(t, func() bool { return c.Flows.Len() > 0 }, func() string { return "the flow is not there" })
		if got := gw.Connections(); got != 0 {
			t.Errorf("%d connections before the handshake", got)
		}
		app := tls.Client(conn, &tls.Config{RootCAs: ca.Pool, ServerName: "app.example"})
		if err := app.Handshake(); err != nil {
			t.Fatal(err)
		}
		tunneltest.Await(t, func() bool { return gw.Connections() > 0 }, func() string { return "the handshake alone is not enough" })
		tunneltest.RoundTrip(t, app, "hello")
		_ = app.Close()

		clear := tunneltest.Start(t, gw, tunneltest.Options{Proxy: mode})
		before := gw.Connections()
		_ = clear.App()
		tunneltest.Await(t, func() bool { return gw.Connections() > before }, func() string { return "in the clear it waits for a byte" })
	})
}
