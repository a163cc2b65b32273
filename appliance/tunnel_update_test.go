package appliance

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"culvert/configs"
	"culvert/proxy/codec"
	"culvert/test/peer"
	"culvert/test/ports"
	"culvert/tunnel"
	"culvert/tunnel/tunneltest"
)

// tunnelConfig is a listener that tunnels to the gateway, with a header of the
// day.
func tunnelConfig(front int, gw *tunneltest.Gateway, day string) string {
	version, tls := "http2_protocol_options", ""
	if gw.Mode.Proto == codec.HTTP11 {
		version = "http_protocol_options"
	}
	if gw.CA != nil {
		tls = fmt.Sprintf(`
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: %s
        common_tls_context: {validation_context: {trusted_ca: {inline_bytes: %s}}}`,
			gw.Trust().GetSni(), base64.StdEncoding.EncodeToString(gw.CA.PEM))
	}
	_, port, _ := net.SplitHostPort(gw.Addr())
	return fmt.Sprintf(`
static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: 127.0.0.1, port_value: %d}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: t
          cluster: edge
          tunneling_config: {hostname: "foo.lyft.com:80", use_post: %v, headers_to_add: [{header: {key: x-day, value: %q}}]}
  clusters:
  - name: edge
    load_assignment:
      cluster_name: edge
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %s}}}}]}]
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {%s: {}}%s
`, front, gw.Mode.Method == tunnel.MethodPost, day, port, version, tls)
}

// A tunnel outlives the configuration it was made by, and the next one has the
// headers of the new.
func TestG16NewHeadersAfterSwap(t *testing.T) {
	tunneltest.ForEachMode(t, func(t *testing.T, m tunnel.Mode) {
		asked := make(chan string, 2)
		gw := tunneltest.NewGateway(t, m, func(r *peer.Request) { asked <- r.Get("x-day"); peer.EchoTunnel()(r) })
		front := ports.Free(t, 1)[0]
		s := serve(t, tunnelConfig(front, gw, "monday"), time.Minute)
		app := func() net.Conn {
			c, err := net.Dial("tcp", loopback(front))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			_ = c.SetDeadline(time.Now().Add(patience))
			return c
		}
		old := app()
		tunneltest.RoundTrip(t, old, "before")
		if err := s.Swap(t.Context(), configs.Source{YAML: tunnelConfig(front, gw, "tuesday")}); err != nil {
			t.Fatal(err)
		}
		fresh := app()
		tunneltest.RoundTrip(t, fresh, "fresh")
		tunneltest.RoundTrip(t, old, "after")
		if first, second := <-asked, <-asked; first != "monday" || second != "tuesday" {
			t.Errorf("x-day is %q, then %q", first, second)
		}
		for _, c := range []net.Conn{old, fresh} {
			_ = c.(*net.TCPConn).CloseWrite()
			if rest, err := io.ReadAll(c); err != nil || len(rest) != 0 {
				t.Errorf("the end: %q, %v", rest, err)
			}
		}
		if got := gw.Connections(); got != 2 {
			t.Errorf("%d connections", got)
		}
	})
}
