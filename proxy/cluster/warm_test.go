package cluster

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func ratio(per, predictive float64) *clusterv3.Cluster_PreconnectPolicy {
	p := &clusterv3.Cluster_PreconnectPolicy{}
	if per > 0 {
		p.PerUpstreamPreconnectRatio = wrapperspb.Double(per)
	}
	if predictive > 0 {
		p.PredictivePreconnectRatio = wrapperspb.Double(predictive)
	}
	return p
}

// The first flow after the start pays no handshake: its connection is there.
func TestPreconnectFirstFlow(t *testing.T) {
	const handshake = 2 * time.Second
	for name, first := range map[string]func(*Cluster) error{
		"HTTP": func(c *Cluster) error {
			s, err := c.OpenStream(context.Background(), connectHead(), info())
			if err == nil {
				_ = s.Close()
			}
			return err
		},
		"raw": func(c *Cluster) error {
			conn, _, err := c.Open(context.Background(), info())
			if err == nil {
				_ = conn.Close()
			}
			return err
		},
	} {
		for _, warm := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := static1("192.0.2.1:443")
					if name == "HTTP" {
						m = http2(t, m, &corev3.Http2ProtocolOptions{})
					}
					if warm {
						m.PreconnectPolicy = ratio(0, 1.5)
					}
					d := testDeps()
					d.Connector = connectorFunc(func(context.Context, network.Address) (network.Conn, error) {
						time.Sleep(handshake)
						return &fakeConn{}, nil
					})
					m.Name = "edge"
					c := made(t, m, d)
					c.newConn = func(_ network.Conn, _ codec.Proto, _ *httpSettings, _ uint64, closed func()) httpConn {
						return &fakeHTTP{room: 10, closed: make(chan struct{}), onClose: closed}
					}
					run(t, c)
					time.Sleep(10 * time.Second)
					began := time.Now()
					if err := first(c); err != nil {
						t.Fatal(err)
					}
					want := handshake
					if warm {
						want = 0
					}
					if d := time.Since(began); d != want || c.value("upstream_cx_total") != 1 {
						t.Errorf("the first flow waited %v, want %v; %d connections", d, want, c.value("upstream_cx_total"))
					}
				})
			})
		}
	}
}

// E02: more connections than flows, and all is well.
func TestE02PreconnectRatio(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := static1("192.0.2.1:1")
		m.PreconnectPolicy = ratio(1.5, 0)
		c := start(t, m, func(d *Deps) {
			d.Connector = connectorFunc(func(context.Context, network.Address) (network.Conn, error) { return &fakeConn{}, nil })
		})
		var open []network.Conn
		for range 4 {
			conn, _, err := c.Open(t.Context(), info())
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, conn)
			synctest.Wait()
		}
		if c.value("upstream_cx_total") != 6 || c.value("upstream_cx_active") != 4 {
			t.Errorf("%d connections, %d active; want 6 for 4 flows", c.value("upstream_cx_total"), c.value("upstream_cx_active"))
		}
		for _, conn := range open {
			_ = conn.Close()
		}
		c.spares.close()
		if c.breaker.connections.active.Load() != 0 {
			t.Error("a place is lost")
		}
	})
}

// A spare that has ended meanwhile is not given away.
func TestSpareIsAlive(t *testing.T) {
	srv := serveScript(t, func(int, int) []byte { return nil }) // ends with the first request
	m := static1(srv.addr)
	c := start(t, m, nil)
	h := c.hosts.known()[0]
	if err := c.spares.add(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	sp := c.spares.ready[h.key()][0].conn
	_, _ = sp.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	_, _ = sp.Read(make([]byte, 1)) // its end is here
	conn, _, err := c.Open(t.Context(), info())
	if err != nil {
		t.Fatal(err)
	}
	if conn.(network.Unwrapper).Unwrap() == sp {
		t.Error("a dead connection was given away")
	}
	_ = conn.Close()
	if c.breaker.connections.active.Load() != 0 {
		t.Error("its place is lost")
	}
}

func TestSpareExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &fakeConn{}
		c := start(t, static1("192.0.2.1:1"), func(d *Deps) {
			d.Connector = connectorFunc(func(context.Context, network.Address) (network.Conn, error) { return conn, nil })
		})
		if err := c.Warm(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(spareLife)
		synctest.Wait()
		if conn.closed != 1 || c.breaker.connections.active.Load() != 0 || c.spares.take(c.hosts.known()[0]) != nil {
			t.Errorf("closed %d times", conn.closed)
		}
	})
}

// Predictive: another endpoint is ready before it is picked.
func TestPredictive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := testDeps()
		d.Connector = connectorFunc(func(context.Context, network.Address) (network.Conn, error) { return &fakeConn{}, nil })
		m := http2(t, static1("192.0.2.1:443", "192.0.2.2:443"), &corev3.Http2ProtocolOptions{})
		m.Name, m.PreconnectPolicy = "edge", ratio(0, 3)
		c := made(t, m, d) // it does not run: nothing is warm
		t.Cleanup(c.stop)
		c.newConn = func(_ network.Conn, _ codec.Proto, _ *httpSettings, _ uint64, closed func()) httpConn {
			return &fakeHTTP{room: 10, closed: make(chan struct{}), onClose: closed}
		}
		picked := c.hosts.known()[0]
		for range 20 { // it is a matter of luck which
			c.predict(picked)
			synctest.Wait()
		}
		if h := c.Status().Hosts; h[0].CxActive != 0 || h[1].CxActive != 1 {
			t.Errorf("%+v", h)
		}
	})
}

func tlsTo(t *testing.T, m *clusterv3.Cluster) *clusterv3.Cluster {
	m.TransportSocket = &corev3.TransportSocket{Name: "tls", ConfigType: &corev3.TransportSocket_TypedConfig{
		TypedConfig: packed(t, &tlsv3.UpstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{
			ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
				TrustChainVerification: tlsv3.CertificateValidationContext_ACCEPT_UNTRUSTED,
			}},
		}}),
	}}
	return m
}

// G38: what the peer chooses by ALPN is spoken.
func TestG38AutoConfig(t *testing.T) {
	for want, h2 := range map[string]bool{"HTTP/2": true, "HTTP/1.1": false} {
		t.Run(want, func(t *testing.T) {
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.Proto)) }))
			srv.EnableHTTP2 = h2
			srv.StartTLS()
			t.Cleanup(srv.Close)
			m := protocolOptions(t, tlsTo(t, static1(srv.Listener.Addr().String())), &httpv3.HttpProtocolOptions{
				UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_AutoConfig{AutoConfig: &httpv3.HttpProtocolOptions_AutoHttpConfig{
					Http2ProtocolOptions: &corev3.Http2ProtocolOptions{},
				}},
			})
			c := start(t, m, nil)
			for range 2 {
				i := info()
				head := get()
				head.Scheme = "https"
				s, err := c.OpenStream(t.Context(), head, i)
				if err != nil {
					t.Fatal(err)
				}
				if got := i.Upstream().Protocol; got != want {
					t.Errorf("speaks %s", got)
				}
				if res, err := s.ReadResponse(t.Context()); err != nil || res.Status != 200 {
					t.Errorf("%+v, %v", res, err)
				}
				_, _ = s.Read(make([]byte, 64))
				_, _ = s.Read(make([]byte, 64))
				_ = s.Close()
			}
			if c.value("upstream_cx_total") != 1 {
				t.Errorf("%d connections", c.value("upstream_cx_total"))
			}
		})
	}
}
