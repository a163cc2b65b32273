package cluster

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"culvert/proxy/network"
	"culvert/proxy/transport"
	"culvert/proxy/transport/transporttest"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	dnscachev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/dynamic_forward_proxy/v3"
	h11v3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/http_11_proxy/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// throughProxy puts http_11_proxy around the transport of m.
func throughProxy(t *testing.T, m *clusterv3.Cluster, fallback *corev3.Address) *clusterv3.Cluster {
	m.TransportSocket = transporttest.Socket(t, &h11v3.Http11ProxyUpstreamTransport{
		TransportSocket: m.GetTransportSocket(), DefaultProxyAddress: fallback,
	})
	return m
}

// viaProxy is metadata that names the proxy.
func viaProxy(t *testing.T, addr string) *corev3.Metadata {
	return &corev3.Metadata{TypedFilterMetadata: map[string]*anypb.Any{
		"envoy.http11_proxy_transport_socket.proxy_address": packed(t, endpointOf(addr)),
	}}
}

// forEachVersion runs test with a TLS origin of either version, which says how
// it was spoken to, and with what makes a cluster speak it.
func forEachVersion(t *testing.T, id string, test func(t *testing.T, proto, origin string, speak func(*clusterv3.Cluster) *clusterv3.Cluster)) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(id+" "+strings.ReplaceAll(proto, "/", " "), func(t *testing.T) {
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.Proto)) }))
			srv.EnableHTTP2 = proto == "HTTP/2.0"
			srv.StartTLS()
			t.Cleanup(srv.Close)
			test(t, proto, srv.Listener.Addr().String(), func(m *clusterv3.Cluster) *clusterv3.Cluster {
				if proto == "HTTP/2.0" {
					return http2(t, m, &corev3.Http2ProtocolOptions{})
				}
				return m
			})
		})
	}
}

// nowhere is an endpoint that only a proxy leads to.
const nowhere = "192.0.2.1:8443"

// L01: one CONNECT for each connection, whose 200 nobody else sees; what follows
// is encrypted, and the next request finds the connection.
func TestL01ProxyConnect(t *testing.T) {
	forEachVersion(t, "L01", func(t *testing.T, proto, origin string, speak func(*clusterv3.Cluster) *clusterv3.Cluster) {
		p := serveProxy(t, origin)
		m := speak(throughProxy(t, tlsTo(t, static1(nowhere)), nil))
		m.LoadAssignment.Endpoints[0].LbEndpoints[0].Metadata = viaProxy(t, p.addr)
		c := start(t, m, nil)
		for range 2 {
			if status, body := ask(t, c, get()); status != 200 || body != proto {
				t.Errorf("%d %q", status, body)
			}
		}
		const want = "CONNECT " + nowhere + " HTTP/1.1\r\nHost: " + nowhere + "\r\n"
		if heads := p.seen(); len(heads) != 1 || !strings.HasPrefix(heads[0], want) {
			t.Errorf("the proxy was asked %q", heads)
		}
		if first := p.tunnels(); string(first) != "\x16" {
			t.Errorf("tunnels begin with %x, want one with a TLS handshake", first)
		}
		if c.value("upstream_cx_total") != 1 || c.value("upstream_rq_total") != 2 {
			t.Errorf("%d connections for %d requests", c.value("upstream_cx_total"), c.value("upstream_rq_total"))
		}
	})
}

// L01: a host without a port is asked for at 443, and raw bytes go the same way.
func TestL01DefaultPort(t *testing.T) {
	srv := serveScript(t, func(int, int) []byte { return okAnswer })
	p := serveProxy(t, srv.addr)
	c := start(t, throughProxy(t, static1(nowhere), nil), nil)
	i := info()
	i.SetFilterState(transport.StateHTTP11Proxy, &transport.HTTP11Proxy{Hostname: "a.example", Address: at(p.addr)})
	conn, _, err := c.Open(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if heads := p.seen(); len(heads) != 1 || !strings.HasPrefix(heads[0], "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n") {
		t.Errorf("the proxy was asked %q", heads)
	}
}

// L02: each proxy has connections of its own; without one there is no detour.
func TestL02ProxiesApart(t *testing.T) {
	forEachVersion(t, "L02", func(t *testing.T, proto, origin string, speak func(*clusterv3.Cluster) *clusterv3.Cluster) {
		one, two := serveProxy(t, origin), serveProxy(t, origin)
		m := speak(throughProxy(t, tlsTo(t, static1(origin, origin, origin)), nil))
		list := m.LoadAssignment.Endpoints[0].LbEndpoints
		list[0].Metadata, list[1].Metadata = viaProxy(t, one.addr), viaProxy(t, two.addr)
		c := start(t, m, nil)
		for range 6 { // each endpoint twice
			if status, body := ask(t, c, get()); status != 200 || body != proto {
				t.Errorf("%d %q", status, body)
			}
		}
		if one.connections() != 1 || two.connections() != 1 || len(one.seen()) != 1 || len(two.seen()) != 1 {
			t.Errorf("%d and %d connections, asked %q and %q", one.connections(), two.connections(), one.seen(), two.seen())
		}
		if got := c.value("upstream_cx_total"); got != 3 {
			t.Errorf("%d connections, want one for each way", got)
		}
	})
}

// L03: what is in the clear anyway is asked of the proxy itself, by its whole
// URL. HTTP/2 has no such request, and what asks for a tunnel gets one.
func TestL03ProxyInTheClear(t *testing.T) {
	t.Run("L03 HTTP/1.1", func(t *testing.T) {
		p := serveProxy(t, "")
		c := start(t, throughProxy(t, static1(nowhere), endpointOf(p.addr)), nil)
		head := get()
		head.Path = "/some/where?q=1"
		for range 2 {
			if status, body := ask(t, c, head); status != 200 || body != "ok" {
				t.Errorf("%d %q", status, body)
			}
		}
		heads := p.seen()
		if len(heads) != 2 || p.connections() != 1 {
			t.Fatalf("%d connections, asked %q", p.connections(), heads)
		}
		for _, head := range heads {
			if !strings.HasPrefix(head, "GET http://a.example/some/where?q=1 HTTP/1.1\r\n") || !strings.Contains(strings.ToLower(head), "\r\nhost: a.example\r\n") {
				t.Errorf("the proxy was asked %q", head)
			}
		}
	})
	t.Run("L03 an upgrade", func(t *testing.T) {
		srv := serveScript(t, func(int, int) []byte {
			return []byte("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
		})
		p := serveProxy(t, srv.addr)
		c := start(t, throughProxy(t, static1(nowhere), endpointOf(p.addr)), nil)
		head := get()
		head.Protocol, head.EndStream = "x", false
		s, err := c.OpenStream(t.Context(), head, info())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		res, err := s.ReadResponse(t.Context())
		if err != nil || res.Status != 101 {
			t.Errorf("%+v, %v", res, err)
		}
		if heads := p.seen(); len(heads) != 1 || !strings.HasPrefix(heads[0], "CONNECT "+nowhere+" ") {
			t.Errorf("the proxy was asked %q", heads)
		}
	})
	t.Run("L03 HTTP/2", func(t *testing.T) {
		srv := clearHTTP2(t)
		p := serveProxy(t, srv)
		c := start(t, http2(t, throughProxy(t, static1(nowhere), endpointOf(p.addr)), &corev3.Http2ProtocolOptions{}), nil)
		if status, body := ask(t, c, get()); status != 200 || body != "HTTP/2.0" {
			t.Errorf("%d %q", status, body)
		}
		if heads := p.seen(); len(heads) != 1 || !strings.HasPrefix(heads[0], "CONNECT "+nowhere+" ") {
			t.Errorf("the proxy was asked %q", heads)
		}
	})
}

// clearHTTP2 is an origin of HTTP/2 without TLS.
func clearHTTP2(t *testing.T) (addr string) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.Proto)) }))
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// L04: a no, and what is no answer, is a connection that failed; what is not
// whole yet is waited for.
func TestL04ProxyAnswers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nVia: 1.1 p\r\n\r\n"
	forEachVersion(t, "L04", func(t *testing.T, proto, origin string, speak func(*clusterv3.Cluster) *clusterv3.Cluster) {
		for _, tt := range []struct {
			name   string
			answer []string
			status int // of the refusal
			fails  bool
		}{
			{name: "fragments", answer: strings.Split(ok, "")},
			{name: "not 200", answer: []string{"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nno"}, status: 407, fails: true},
			{name: "head too long", answer: []string{"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 64<<10)}, fails: true},
			{name: "no answer at all", answer: []string{"SSH-2.0-x\r\n\r\n"}, fails: true},
		} {
			t.Run("L04 "+tt.name, func(t *testing.T) {
				p := serveProxy(t, origin, tt.answer...)
				for range tt.answer {
					p.goOn <- struct{}{}
				}
				c := start(t, speak(throughProxy(t, tlsTo(t, static1(nowhere)), endpointOf(p.addr))), nil)
				if !tt.fails {
					if status, body := ask(t, c, get()); status != 200 || body != proto {
						t.Errorf("%d %q", status, body)
					}
					return
				}
				_, err := c.OpenStream(t.Context(), get(), info())
				var refused *transport.RefusedError
				if errors.As(err, &refused) != (tt.status != 0) || refused != nil && refused.Status != tt.status || network.FlagFor(err) != network.FlagUF {
					t.Errorf("%v", err)
				}
				if c.value("upstream_cx_connect_fail") != 1 || len(p.tunnels()) != 0 || c.breaker.connections.active.Load() != 0 {
					t.Errorf("connect_fail %d, tunnels %x", c.value("upstream_cx_connect_fail"), p.tunnels())
				}
			})
		}
		t.Run("L04 partial", func(t *testing.T) {
			p := serveProxy(t, origin, ok[:20], ok[20:])
			waitsForTheRest(t, p, start(t, speak(throughProxy(t, tlsTo(t, static1(nowhere)), endpointOf(p.addr))), nil))
		})
	})
}

// waitsForTheRest makes a request while p holds back the rest of its answer.
func waitsForTheRest(t *testing.T, p *forwardProxy, c *Cluster) {
	answered := make(chan error, 1)
	go func() { // ends with the answer
		s, err := c.OpenStream(t.Context(), get(), info())
		if err == nil {
			_, err = s.ReadResponse(t.Context())
			_ = s.Close()
		}
		answered <- err
	}()
	for len(p.seen()) == 0 {
		select {
		case err := <-answered:
			t.Fatalf("answered by half a head: %v", err)
		default:
		}
	}
	if len(p.tunnels()) != 0 || c.value("upstream_rq_pending_active") != 1 {
		t.Errorf("it does not wait: tunnels %x, pending %d", p.tunnels(), c.value("upstream_rq_pending_active"))
	}
	p.goOn <- struct{}{}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// L05: a proxy resolves what it is asked for; without one the name is ours to
// resolve, and a name that is none fails as that.
func TestL05DynamicThroughProxy(t *testing.T) {
	forEachVersion(t, "L05", func(t *testing.T, proto, origin string, speak func(*clusterv3.Cluster) *clusterv3.Cluster) {
		p := serveProxy(t, origin)
		head := get()
		head.Scheme, head.Authority = "https", "nowhere.example"
		asked := func(c *Cluster) int64 { v, _ := c.deps.Stats.Value("dns_cache.cache.dns_query_attempt"); return v }
		rig := func(fallback *corev3.Address) *Cluster {
			m := speak(throughProxy(t, tlsTo(t, dynamicCluster(t, &dnscachev3.DnsCacheConfig{})), fallback))
			return start(t, m, func(d *Deps) { d.Resolver = &zone{} })
		}

		c := rig(endpointOf(p.addr))
		if err := c.ResolveHost(t.Context(), head, info()); err != nil {
			t.Errorf("ResolveHost: %v", err)
		}
		if status, body := ask(t, c, head); status != 200 || body != proto {
			t.Errorf("%d %q", status, body)
		}
		if heads := p.seen(); len(heads) != 1 || !strings.HasPrefix(heads[0], "CONNECT nowhere.example:443 ") {
			t.Errorf("the proxy was asked %q", heads)
		}
		if got := asked(c); got != 0 {
			t.Errorf("%d DNS queries", got)
		}

		c = rig(nil)
		if err := c.ResolveHost(t.Context(), head, info()); network.ReasonFor(err) != network.ReasonDNS || asked(c) != 1 {
			t.Errorf("without a proxy: %v, %d DNS queries", err, asked(c))
		}
	})
}

// A request of one version finds no connection that was made for the other way:
// what goes in absolute form and what goes through a CONNECT are pools apart.
func TestL03PoolsOfEitherForm(t *testing.T) {
	srv := serveScript(t, func(int, int) []byte { return []byte("HTTP/1.1 200 OK\r\n\r\n") })
	p := serveProxy(t, srv.addr)
	c := start(t, throughProxy(t, static1(nowhere), endpointOf(p.addr)), nil)
	_, _ = ask(t, c, get())
	s, err := c.OpenStream(t.Context(), connectHead(), info())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if res, err := s.ReadResponse(t.Context()); err != nil || !res.Success() {
		t.Errorf("%+v, %v", res, err)
	}
	var methods []string
	for _, head := range p.seen() {
		methods = append(methods, strings.Fields(head)[0]+" "+strings.Fields(head)[1])
	}
	if want := []string{"GET http://a.example/", "CONNECT " + nowhere}; !slices.Equal(methods, want) {
		t.Errorf("the proxy was asked %q, want %q", methods, want)
	}
}
