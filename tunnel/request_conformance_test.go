package tunnel_test

import (
	"io"
	"strings"
	"testing"

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

// Bytes both ways, a clean end, one record.
func TestG01G13G14Basic(t *testing.T) {
	tunneltest.ForEachMode(t, func(t *testing.T, m tunnel.Mode) {
		gw := tunneltest.NewGateway(t, m, peer.EchoTunnel())
		c := tunneltest.Start(t, gw, tunneltest.Options{
			Format: "%ACCESS_LOG_TYPE% %BYTES_RECEIVED% %BYTES_SENT% %RESPONSE_FLAGS% %UPSTREAM_HOST% %UPSTREAM_PROTOCOL%\n",
		})
		app := c.App()
		tunneltest.RoundTrip(t, app, "hello")
		finish(t, app)
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

// The request of each mode, and nothing more in it.
func TestG01G05G06G07Request(t *testing.T) {
	type fields map[string]string
	const authority = "foo.lyft.com:80"
	post := func(m tunnel.Mode) bool { return m.Method == tunnel.MethodPost }
	over2 := func(m tunnel.Mode) bool { return m.Shared() }
	tests := []struct {
		name string
		in   func(tunnel.Mode) bool
		path string // post_path
		want func(tunnel.Mode) fields
	}{
		{"G01 CONNECT of HTTP11", tunnel.Mode.Raw, "", func(tunnel.Mode) fields {
			return fields{":method": "CONNECT", ":authority": authority, "host": authority}
		}},
		{"G07 CONNECT of HTTP2", func(m tunnel.Mode) bool { return over2(m) && !post(m) }, "", func(tunnel.Mode) fields {
			return fields{":method": "CONNECT", ":authority": authority}
		}},
		{"G05 FB24 POST", post, "", func(m tunnel.Mode) fields { return postFields(m, authority, "/") }},
		{"G05 FB24 POST to a path", post, "/tunnel?x=1", func(m tunnel.Mode) fields { return postFields(m, authority, "/tunnel?x=1") }},
		{"G06 https", func(m tunnel.Mode) bool { return over2(m) && post(m) && m.Secure }, "", func(m tunnel.Mode) fields {
			want := postFields(m, authority, "/")
			want[":scheme"] = "https"
			return want
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tunneltest.ForModes(t, tt.in, func(t *testing.T, m tunnel.Mode) {
				asked, script := asking()
				c := tunneltest.Start(t, tunneltest.NewGateway(t, m, script), tunneltest.Options{
					Proxy: &tcpproxyv3.TcpProxy{TunnelingConfig: &tcpproxyv3.TcpProxy_TunnelingConfig{PostPath: tt.path}},
				})
				app := c.App()
				tunneltest.RoundTrip(t, app, "hello")
				finish(t, app)
				r, want := <-asked, tt.want(m)
				want["cdn-loop"] = "culvert; hops=1"
				for name, value := range want {
					if r.Get(name) != value {
						t.Errorf("%s is %q, want %q", name, r.Get(name), value)
					}
				}
				if len(r.Fields) != len(want) {
					t.Errorf("fields %s", names(r))
				}
			})
		})
	}
}

// postFields are a POST's.
func postFields(m tunnel.Mode, authority, path string) map[string]string {
	f := map[string]string{":method": "POST", ":authority": authority, ":path": path}
	switch {
	case !m.Shared():
		f["host"], f["transfer-encoding"] = authority, "chunked"
	case m.Secure:
		f[":scheme"] = "https"
	default:
		f[":scheme"] = "http"
	}
	return f
}

// Ids are made for each flow, and logged; so are headers and the hostname.
func TestG09G10G15G35Values(t *testing.T) {
	tests := []struct {
		name, header, key, field, logged string
	}{
		{"G09 G15 G35 as Envoy names it", "", "", "x-request-id", "tunnel_request_id"},
		{"G10 G15 G35 as configured", "x-rid", "rid", "x-rid", "rid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tunneltest.ForEachMode(t, func(t *testing.T, m tunnel.Mode) {
				asked, script := asking()
				c := tunneltest.Start(t, tunneltest.NewGateway(t, m, script), tunneltest.Options{
					Proxy: &tcpproxyv3.TcpProxy{TunnelingConfig: &tcpproxyv3.TcpProxy_TunnelingConfig{
						Hostname:             "%DYNAMIC_METADATA(test:name)%:443",
						RequestIdExtension:   &hcmv3.RequestIDExtension{TypedConfig: tunneltest.Pack(t, &uuidv3.UuidRequestIdConfig{})},
						RequestIdHeader:      tt.header,
						RequestIdMetadataKey: tt.key,
						HeadersToAdd: []*corev3.HeaderValueOption{{
							Header: &corev3.HeaderValue{Key: "x-local", Value: "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%"},
						}},
					}},
					Flow:   func(info *network.StreamInfo) { info.SetMetadata("test", "name", "origin.example") },
					Format: "%DYNAMIC_METADATA(envoy.filters.network.tcp_proxy:" + tt.logged + ")%\n",
				})
				for range 2 {
					app := c.App()
					tunneltest.RoundTrip(t, app, "x")
					finish(t, app)
				}
				ids := c.Records(2)
				first, second := <-asked, <-asked
				one, two := first.Get(tt.field), second.Get(tt.field)
				if one == "" || one == two || !strings.Contains(ids, one+"\n") || !strings.Contains(ids, two+"\n") {
					t.Errorf("ids %q and %q, logged %q", one, two, ids)
				}
				if tt.header != "" && first.Get("x-request-id") != "" {
					t.Errorf("fields %s", names(first))
				}
				if strings.Count(names(first), "x-local") != 1 || first.Get("x-local") != "127.0.0.1" {
					t.Errorf("x-local is %q in %s", first.Get("x-local"), names(first))
				}
				if first.Get(":authority") != "origin.example:443" {
					t.Errorf("authority %q", first.Get(":authority"))
				}
			})
		})
	}
}

// What the gateway says is in the record, of a yes and of a no behind a retry,
// and its trailers where the mode has any.
func TestG18G19Propagation(t *testing.T) {
	const format = "%FILTER_STATE(envoy.tcp_proxy.propagate_response_headers:FIELD:x-gw)% " +
		"%FILTER_STATE(envoy.tcp_proxy.propagate_response_trailers:FIELD:x-end)%\n"
	yes := func(r *peer.Request) {
		if r.Respond(200, false, "x-gw", "yes") == nil {
			_ = r.Send(nil, true)
		}
	}
	trailers := func(r *peer.Request) {
		if r.Respond(200, false, "x-gw", "yes") == nil {
			_ = r.Trailers("x-end", "bye")
		}
	}
	no := peer.Answer(503, "x-gw", "first")
	all := func(tunnel.Mode) bool { return true }
	tests := []struct {
		name   string
		in     func(tunnel.Mode) bool
		on     bool
		turns  []peer.Script
		record string
	}{
		{"G18 yes", all, true, []peer.Script{yes}, "yes -"},
		{"G18 FB10 no", all, true, []peer.Script{no, peer.Answer(503, "x-gw", "second")}, "second -"},
		{"G18 no, then yes", all, true, []peer.Script{no, yes}, "yes -"},
		{"G18 off", all, false, []peer.Script{yes}, "- -"},
		{"G19 FB19 trailers", tunnel.Mode.Trailers, true, []peer.Script{trailers}, "yes bye"},
		{"G19 off", tunnel.Mode.Trailers, false, []peer.Script{trailers}, "- -"},
		{"no trailers in raw bytes", tunnel.Mode.Raw, true, []peer.Script{trailers}, "yes -"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tunneltest.ForModes(t, tt.in, func(t *testing.T, m tunnel.Mode) {
				proxy := attempts(2)
				proxy.TunnelingConfig = &tcpproxyv3.TcpProxy_TunnelingConfig{PropagateResponseHeaders: tt.on, PropagateResponseTrailers: tt.on}
				gw := tunneltest.NewGateway(t, m, peer.InTurn(tt.turns...))
				c := tunneltest.Start(t, gw, tunneltest.Options{Proxy: proxy, Format: format})
				_, _ = c.Visit("x")
				if got := c.Records(1); got != tt.record+"\n" {
					t.Errorf("record %q, want %q", got, tt.record)
				}
			})
		})
	}
}

// Any 2xx opens an HTTP/1.1 tunnel, and what a CONNECT's says of a body means
// nothing.
func TestG30AnySuccess(t *testing.T) {
	http1 := func(m tunnel.Mode) bool { return !m.Shared() }
	tests := []struct {
		name   string
		in     func(tunnel.Mode) bool
		status int
		fields []string
	}{
		{"G30 FB04 200", http1, 200, nil},
		{"G30 FB04 202", http1, 202, nil},
		{"G30 FB04 226", http1, 226, nil},
		{"G30 FB05 202 with length", tunnel.Mode.Raw, 202, []string{"content-length", "10"}},
		{"G30 FB06 226 chunked", tunnel.Mode.Raw, 226, []string{"transfer-encoding", "chunked"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tunneltest.ForModes(t, tt.in, func(t *testing.T, m tunnel.Mode) {
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
		})
	}
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
