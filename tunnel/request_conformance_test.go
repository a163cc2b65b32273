package tunnel_test

import (
	"io"
	"strings"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/network"
	"culvert/test/peer"
	"culvert/tunnel"
	"culvert/tunnel/tunneltest"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	uuidv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/request_id/uuid/v3"
)

// asking is an echo that hands out its request.
func asking() (chan *peer.Request, peer.Script) {
	asked := make(chan *peer.Request, 10)
	return asked, func(r *peer.Request) { asked <- r; peer.EchoTunnel()(r) }
}

// finish ends the application's direction and reads the other to its end.
func finish(t *testing.T, app interface {
	io.Reader
	CloseWrite() error
}) {
	t.Helper()
	_ = app.CloseWrite()
	if rest, err := io.ReadAll(app); err != nil || len(rest) != 0 {
		t.Errorf("the end: %q, %v", rest, err)
	}
}

// names are the request's fields, sorted as they came.
func names(r *peer.Request) string {
	var list []string
	for _, f := range r.Fields {
		list = append(list, f.Name)
	}
	return strings.Join(list, " ")
}

// G01, G05, G06, G07, G13, G14, D 24: the request of each mode and nothing more
// in it, bytes both ways, a clean end, one record.
func TestG01G05G06G07G13G14Basic(t *testing.T) {
	tunneltest.ForEachMode(t, func(t *testing.T, m tunnel.Mode) {
		asked, script := asking()
		gw := tunneltest.NewGateway(t, m, script)
		c := tunneltest.Start(t, gw, tunneltest.Options{
			Format: "%ACCESS_LOG_TYPE% %BYTES_RECEIVED% %BYTES_SENT% %RESPONSE_FLAGS% %UPSTREAM_HOST% %UPSTREAM_PROTOCOL%\n",
		})
		app := c.App()
		tunneltest.RoundTrip(t, app, "hello")
		finish(t, app)
		r := <-asked
		scheme := "http"
		if m.Secure {
			scheme = "https"
		}
		want := map[string]map[string]string{
			"HTTP2-CONNECT":  {":method": "CONNECT", ":authority": "foo.lyft.com:80"},
			"HTTP2-POST":     {":method": "POST", ":authority": "foo.lyft.com:80", ":scheme": scheme, ":path": "/"},
			"HTTP11-CONNECT": {":method": "CONNECT", ":authority": "foo.lyft.com:80", "host": "foo.lyft.com:80"},
			"HTTP11-POST": {":method": "POST", ":authority": "foo.lyft.com:80", ":path": "/", "host": "foo.lyft.com:80",
				"transfer-encoding": "chunked"},
		}[strings.TrimSuffix(m.String(), "-TLS")]
		want["cdn-loop"] = "culvert; hops=1"
		for name, value := range want {
			if r.Get(name) != value {
				t.Errorf("%s is %q, want %q", name, r.Get(name), value)
			}
		}
		if len(r.Fields) != len(want) {
			t.Errorf("fields %s", names(r))
		}
		if got, want := c.Records(1), "TcpConnectionEnd 5 5 - "+gw.Addr()+" "+m.Proto.String()+"\n"; got != want {
			t.Errorf("record %q, want %q", got, want)
		}
		details := ""
		if m.Raw() && m.Secure {
			details = "half_close_by_close_notify"
		}
		if got := c.Ended().Details; got != details {
			t.Errorf("details %q, want %q", got, details)
		}
	})
}

// G09, G10, G15, G35: ids, headers and the hostname are made for each flow.
func TestG09G10G15G35Values(t *testing.T) {
	tunneltest.ForEachMode(t, func(t *testing.T, m tunnel.Mode) {
		asked, script := asking()
		gw := tunneltest.NewGateway(t, m, script)
		c := tunneltest.Start(t, gw, tunneltest.Options{
			Proxy: &tcpproxyv3.TcpProxy{TunnelingConfig: &tcpproxyv3.TcpProxy_TunnelingConfig{
				Hostname:             "%DYNAMIC_METADATA(test:name)%:443",
				RequestIdExtension:   &hcmv3.RequestIDExtension{TypedConfig: tunneltest.Pack(t, &uuidv3.UuidRequestIdConfig{})},
				RequestIdHeader:      "x-rid",
				RequestIdMetadataKey: "rid",
				HeadersToAdd: []*corev3.HeaderValueOption{{
					Header: &corev3.HeaderValue{Key: "x-local", Value: "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%"},
				}},
			}},
			Flow:   func(info *network.StreamInfo) { info.SetMetadata("test", "name", "origin.example") },
			Format: "%DYNAMIC_METADATA(envoy.filters.network.tcp_proxy:rid)%\n",
		})
		for range 2 {
			app := c.App()
			tunneltest.RoundTrip(t, app, "x")
			finish(t, app)
		}
		ids := c.Records(2)
		first, second := <-asked, <-asked
		if first.Get("x-rid") == second.Get("x-rid") || first.Get("x-request-id") != "" ||
			!strings.Contains(ids, first.Get("x-rid")+"\n") || !strings.Contains(ids, second.Get("x-rid")+"\n") {
			t.Errorf("ids %q and %q, logged %q", first.Get("x-rid"), second.Get("x-rid"), ids)
		}
		if strings.Count(names(first), "x-local") != 1 || first.Get("x-local") != "127.0.0.1" {
			t.Errorf("x-local is %q in %s", first.Get("x-local"), names(first))
		}
		if first.Get(":authority") != "origin.example:443" {
			t.Errorf("authority %q", first.Get(":authority"))
		}
	})
}

// G18, G19, D 10, D 19: what the gateway says is in the record, of a yes and of
// a no behind a retry, and its trailers where the mode has any.
func TestG18G19Propagation(t *testing.T) {
	const format = "%FILTER_STATE(envoy.tcp_proxy.propagate_response_headers:FIELD:x-gw)% " +
		"%FILTER_STATE(envoy.tcp_proxy.propagate_response_trailers:FIELD:x-end)%\n"
	config := func(on bool) *tcpproxyv3.TcpProxy {
		p := attempts(2)
		p.TunnelingConfig = &tcpproxyv3.TcpProxy_TunnelingConfig{PropagateResponseHeaders: on, PropagateResponseTrailers: on}
		return p
	}
	yes := func(r *peer.Request) {
		if r.Respond(200, false, "x-gw", "yes") != nil {
			return
		}
		_ = r.Trailers("x-end", "bye")
	}
	tunneltest.ForEachMode(t, func(t *testing.T, m tunnel.Mode) {
		trailer := "bye"
		if !m.Trailers() {
			trailer = "-"
		}
		for _, tt := range []struct {
			name   string
			on     bool
			script peer.Script
			want   string
		}{
			{"yes", true, yes, "yes " + trailer},
			{"no", true, peer.InTurn(peer.Answer(503, "x-gw", "first"), peer.Answer(503, "x-gw", "second")), "second -"},
			{"no, then yes", true, peer.InTurn(peer.Answer(503, "x-gw", "first"), yes), "yes " + trailer},
			{"off", false, yes, "- -"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				c := tunneltest.Start(t, tunneltest.NewGateway(t, m, tt.script), tunneltest.Options{Proxy: config(tt.on), Format: format})
				_, _ = c.Visit("x")
				if got := c.Records(1); got != tt.want+"\n" {
					t.Errorf("record %q, want %q", got, tt.want)
				}
			})
		}
	})
}

// G30, D 4, D 5, D 6: any 2xx opens an HTTP/1.1 tunnel, and what a CONNECT's
// says of a body means nothing.
func TestG30AnySuccess(t *testing.T) {
	answers := []struct {
		name   string
		status int
		fields []string
	}{
		{"200", 200, nil}, {"202", 202, nil}, {"226", 226, nil},
		{"202 with length", 202, []string{"content-length", "10"}},
		{"226 chunked", 226, []string{"transfer-encoding", "chunked"}},
	}
	tunneltest.ForModes(t, func(m tunnel.Mode) bool { return m.Proto == codec.HTTP11 }, func(t *testing.T, m tunnel.Mode) {
		for _, tt := range answers {
			if m.Method == tunnel.MethodPost && tt.fields != nil {
				continue // of a POST they count
			}
			t.Run(tt.name, func(t *testing.T) {
				gw := tunneltest.NewGateway(t, m, func(r *peer.Request) {
					_ = r.Respond(tt.status, false, tt.fields...)
					_ = r.Send([]byte("hello, world"), false)
					_ = r.Send(nil, true)
				})
				app := tunneltest.Start(t, gw, tunneltest.Options{}).App()
				if got, err := io.ReadAll(app); err != nil || string(got) != "hello, world" {
					t.Errorf("read %q, %v", got, err)
				}
			})
		}
	})
}

// Filter state names the SNI of the upstream connection, which the certificate
// must then be for; flows of different names share no connection.
func TestUpstreamServerName(t *testing.T) {
	secure := func(m tunnel.Mode) bool { return m.Secure }
	tunneltest.ForModes(t, secure, func(t *testing.T, m tunnel.Mode) {
		gw := tunneltest.NewGateway(t, m, peer.EchoTunnel())
		trust := gw.Trust()
		trust.Sni = "other.example"
		names := make(chan string, 10)
		for _, name := range []string{"gw.example", "", "gw.example"} {
			names <- name
		}
		c := tunneltest.Start(t, gw, tunneltest.Options{TLS: trust, Format: "%RESPONSE_FLAGS%\n", Flow: func(info *network.StreamInfo) {
			if name := <-names; name != "" {
				info.SetFilterState("envoy.network.upstream_server_name", name)
			}
		}})
		for _, ok := range []bool{true, false, true} {
			if _, err := c.Visit("x"); ok == tunneltest.IsReset(err) {
				t.Errorf("right name %v: the application sees %v", ok, err)
			}
		}
	})
}
