package cluster

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/network"
	"culvert/proxy/transport"
	"culvert/test/ports"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// echo is a loopback server until the test ends; it counts what it accepted.
func echo(t *testing.T) (addr string, accepted chan struct{}) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted = make(chan struct{}, 100)
	done := make(chan struct{})
	go func() { // ends when ln is closed, below
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			accepted <- struct{}{}
			_, _ = network.CopyStream(c, c) // no splice: its pipes stay open for a while
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return ln.Addr().String(), accepted
}

func TestOpenSocket(t *testing.T) {
	addr, _ := echo(t)
	marked := 0
	c := start(t, static1(addr), func(d *Deps) {
		d.Control = func(string, string, syscall.RawConn) error { marked++; return nil }
	})
	i := info()
	conn, h, err := c.Open(t.Context(), i)
	if err != nil || h != nil {
		t.Fatalf("%v, %v", h, err)
	}
	_, _ = conn.Write([]byte("hi"))
	_ = conn.CloseWrite()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "hi" {
		t.Errorf("read %q, %v", got, err)
	}
	u := i.Upstream()
	if u.Host.String() != addr || u.RemoteAddress.String() != addr || u.Cluster != "edge" || u.ConnectionID == 0 || u.LocalAddress.IsZero() {
		t.Errorf("upstream %+v", u)
	}
	if marked != 1 || i.Cluster != "edge" {
		t.Errorf("control called %d times, cluster %q", marked, i.Cluster)
	}
	if _, ok := conn.(network.Unwrapper); !ok {
		t.Error("the wrapper hides the socket from the relay")
	}
	if c.value("upstream_cx_active") != 1 || c.value("upstream_cx_total") != 1 {
		t.Errorf("active %d, total %d", c.value("upstream_cx_active"), c.value("upstream_cx_total"))
	}
	_ = conn.Close()
	conn.Abort(nil)
	if c.value("upstream_cx_active") != 0 || c.value("upstream_cx_destroy") != 1 {
		t.Errorf("active %d, destroy %d", c.value("upstream_cx_active"), c.value("upstream_cx_destroy"))
	}
}

// E21: a refused connect keeps the kernel's word.
func TestE21Refused(t *testing.T) {
	addr := ports.Closed(t)
	c := start(t, static1(addr), nil)
	i := info()
	_, _, err := c.Open(t.Context(), i)
	if network.ReasonFor(err) != network.ReasonConnectionRefused || network.FlagFor(err) != network.FlagUF {
		t.Errorf("%v: reason %v, flag %v", err, network.ReasonFor(err), network.FlagFor(err))
	}
	if want := `dial cluster "edge" endpoint ` + addr + `: connect: connection refused`; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	if i.TransportFailure != "delayed connect error: Connection refused" {
		t.Errorf("transport failure %q", i.TransportFailure)
	}
	if c.value("upstream_cx_connect_fail") != 1 || c.value("upstream_cx_active") != 0 || c.breaker.connections.active.Load() != 0 {
		t.Error("counts are wrong")
	}
}

// E22: connect_timeout bounds the dial and the handshake together.
func TestE22ConnectTimeout(t *testing.T) {
	tests := []struct {
		name    string
		dial    time.Duration // before it succeeds
		timeout time.Duration // 0: default
		want    time.Duration
	}{
		{"default", time.Hour, 0, 5 * second},
		{"configured", time.Hour, 250 * time.Millisecond, 250 * time.Millisecond},
		{"handshake counts", 3 * second, 0, 5 * second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := static1("192.0.2.1:443")
				if tt.timeout > 0 {
					m.ConnectTimeout = durationpb.New(tt.timeout)
				}
				c := start(t, m, func(d *Deps) {
					d.Connector = connectorFunc(func(ctx context.Context, to network.Address) (network.Conn, error) {
						select {
						case <-time.After(tt.dial):
							return &fakeConn{}, nil
						case <-ctx.Done():
							return nil, ctx.Err()
						}
					})
				})
				c.transport = transportFunc(func(ctx context.Context, _ network.Conn) (network.Conn, error) {
					<-ctx.Done()
					return nil, network.WithReason(network.ReasonGateway, ctx.Err())
				})
				began := time.Now()
				_, _, err := c.Open(t.Context(), info())
				if time.Since(began) != tt.want || network.ReasonFor(err) != network.ReasonTimeout {
					t.Errorf("after %v: %v", time.Since(began), err)
				}
				if !strings.HasSuffix(err.Error(), ": connection timeout") {
					t.Errorf("error %q", err)
				}
				if c.value("upstream_cx_connect_timeout") != 1 || c.value("upstream_cx_connect_fail") != 1 {
					t.Error("counts are wrong")
				}
			})
		})
	}
}

type transportFunc func(ctx context.Context, c network.Conn) (network.Conn, error)

func (fn transportFunc) Secure() bool { return true }
func (fn transportFunc) Wrap(ctx context.Context, c network.Conn, _ transport.Options) (network.Conn, error) {
	return fn(ctx, c)
}

// E23: whoever asked goes away; it is not a time-out.
func TestE23Canceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, static1("192.0.2.1:443"), func(d *Deps) { d.Connector = connectorFunc(hang) })
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(second, func() { cancel(errNope) })
		if _, _, err := c.Open(ctx, info()); !errors.Is(err, errNope) {
			t.Errorf("got %v", err)
		}
		if c.value("upstream_cx_connect_timeout") != 0 {
			t.Error("counted as a time-out")
		}
	})
}

func TestTransportFailure(t *testing.T) {
	c := start(t, static1("192.0.2.1:443"), func(d *Deps) {
		d.Connector = connectorFunc(func(context.Context, network.Address) (network.Conn, error) { return &fakeConn{}, nil })
	})
	c.transport = transportFunc(func(context.Context, network.Conn) (network.Conn, error) {
		return nil, network.WithReason(network.ReasonGateway, errNope)
	})
	i := info()
	_, _, err := c.Open(t.Context(), i)
	if network.ReasonFor(err) != network.ReasonGateway || i.TransportFailure != "nope" || !c.Secure() {
		t.Errorf("%v, transport failure %q", err, i.TransportFailure)
	}
}

func TestRoundRobin(t *testing.T) {
	var got []string
	c := start(t, static1("192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"), func(d *Deps) {
		d.Connector = connectorFunc(func(_ context.Context, to network.Address) (network.Conn, error) {
			got = append(got, to.Host()[8:])
			return nil, errNope
		})
	})
	for range 7 {
		_, _, _ = c.Open(t.Context(), info())
	}
	if s := strings.Join(got, ""); s != "1231231" {
		t.Errorf("picked %s", s)
	}
	if c.value("membership_total") != 3 {
		t.Errorf("membership_total %d", c.value("membership_total"))
	}
}

func TestNoHosts(t *testing.T) {
	c := start(t, &clusterv3.Cluster{}, nil)
	_, _, err := c.Open(t.Context(), info())
	if network.FlagFor(err) != network.FlagUH || network.ReasonFor(err) != network.ReasonNoHealthy || c.value("upstream_cx_none_healthy") != 1 {
		t.Errorf("%v", err)
	}
}

// An internal endpoint is its listener's handler, found anew for each flow; one
// that is not there is a connection that failed.
func TestInternalEndpoint(t *testing.T) {
	handlers := map[string]network.Handler{}
	c := start(t, static1("envoy:decap"), func(d *Deps) {
		d.Lookup = func(name string) (network.Handler, bool) { h, ok := handlers[name]; return h, ok }
	})
	i := info()
	_, _, err := c.Open(t.Context(), i)
	if network.FlagFor(err) != network.FlagUF || network.ReasonFor(err) != network.ReasonGateway || c.value("upstream_cx_connect_fail") != 1 {
		t.Errorf("%v", err)
	}
	handlers["decap"] = network.HandlerFunc(func(context.Context, network.Flow) error {
		if c.value("upstream_cx_active") != 1 {
			t.Error("not counted as active")
		}
		return errNope
	})
	conn, h, err := c.Open(t.Context(), i)
	if err != nil || conn != nil || h == nil {
		t.Fatalf("%v, %v, %v", conn, h, err)
	}
	if err := h.ServeFlow(t.Context(), nil); !errors.Is(err, errNope) {
		t.Errorf("served by another: %v", err)
	}
	if got := i.Upstream().Host.String(); got != "envoy://decap/1" || c.value("upstream_cx_active") != 0 {
		t.Errorf("host %s, active %d", got, c.value("upstream_cx_active"))
	}
}

// H08: beyond max_connections there is no other.
func TestH08MaxConnections(t *testing.T) {
	m := static1("192.0.2.1:1")
	m.CircuitBreakers = &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{MaxConnections: u32(2)}}}
	c := start(t, m, func(d *Deps) {
		d.Connector = connectorFunc(func(context.Context, network.Address) (network.Conn, error) { return &fakeConn{}, nil })
	})
	first, _, err1 := c.Open(t.Context(), info())
	second, _, err2 := c.Open(t.Context(), info())
	_, _, err3 := c.Open(t.Context(), info())
	if err1 != nil || err2 != nil || network.ReasonFor(err3) != network.ReasonOverflow {
		t.Fatalf("%v, %v, %v", err1, err2, err3)
	}
	if c.value("upstream_cx_overflow") != 1 || c.breaker.connections.open() != 1 {
		t.Errorf("overflow %d, open %d", c.value("upstream_cx_overflow"), c.breaker.connections.open())
	}
	_ = first.Close()
	third, _, err := c.Open(t.Context(), info())
	if err != nil {
		t.Fatal(err)
	}
	second.Abort(nil)
	_ = third.Close()
	if c.breaker.connections.open() != 0 {
		t.Error("still open")
	}
}

// The first address of a name gets a head start, then the next is tried beside
// it, families in turn.
func TestLogicalDNSHappyEyeballs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var mu sync.Mutex
		var order []string
		c := start(t, ofType(clusterv3.Cluster_LOGICAL_DNS, static1("a.example:443")), func(d *Deps) {
			d.Resolver = &zone{names: map[string][]string{"a.example": {"2001:db8::1", "2001:db8::2", "192.0.2.1"}}}
			d.Connector = connectorFunc(func(ctx context.Context, to network.Address) (network.Conn, error) {
				mu.Lock()
				order = append(order, to.Host()+" "+time.Since(began).String())
				mu.Unlock()
				if to.Host() == "2001:db8::2" {
					return &fakeConn{}, nil
				}
				return hang(ctx, to)
			})
		})
		i := info()
		conn, _, err := c.Open(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if got := strings.Join(order, ", "); got != "2001:db8::1 0s, 192.0.2.1 300ms, 2001:db8::2 600ms" {
			t.Errorf("dialled %s", got)
		}
		if i.Upstream().Host.String() != "a.example:443" {
			t.Errorf("host %v", i.Upstream().Host)
		}
	})
}

// A losing address that connects late is closed.
func TestHappyEyeballsLateWinner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := &fakeConn{}
		conn, err := dialFirst(t.Context(), connectorFunc(func(ctx context.Context, to network.Address) (network.Conn, error) {
			if to.Port() == 1 {
				<-ctx.Done() // and connects all the same
				return late, nil
			}
			return &fakeConn{}, nil
		}), []network.Address{network.NameAddress("192.0.2.1", 1), network.NameAddress("192.0.2.1", 2)}, nil)
		if err != nil || conn == network.Conn(late) || late.closed != 1 {
			t.Errorf("%v, closed %d", err, late.closed)
		}
	})
}

// All addresses fail: the first one's error, without waiting for head starts.
func TestHappyEyeballsAllFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := dialFirst(t.Context(), connectorFunc(func(_ context.Context, to network.Address) (network.Conn, error) {
			if to.Port() == 1 {
				return nil, syscall.ECONNREFUSED
			}
			return nil, syscall.EHOSTUNREACH
		}), []network.Address{network.NameAddress("192.0.2.1", 1), network.NameAddress("192.0.2.1", 2)}, nil)
		if !errors.Is(err, syscall.ECONNREFUSED) || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// A name that stops resolving keeps its last addresses; one that never did is
// no healthy upstream, and says why.
func TestLogicalDNSAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{names: map[string][]string{}}
		var dialled []string
		c := start(t, ofType(clusterv3.Cluster_LOGICAL_DNS, static1("a.example:443")), func(d *Deps) {
			d.Resolver = z
			d.Connector = connectorFunc(func(_ context.Context, to network.Address) (network.Conn, error) {
				dialled = append(dialled, to.String())
				return &fakeConn{}, nil
			})
		})
		_, _, err := c.Open(t.Context(), info())
		if network.ReasonFor(err) != network.ReasonDNS || network.FlagFor(err) != network.FlagUH {
			t.Errorf("%v: %v, %v", err, network.ReasonFor(err), network.FlagFor(err))
		}
		for _, answer := range [][]string{{"192.0.2.1"}, {"192.0.2.2"}, nil} {
			time.Sleep(time.Minute)
			z.set("a.example", answer...)
			conn, _, err := c.Open(t.Context(), info())
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
		}
		if got := strings.Join(dialled, " "); got != "192.0.2.1:443 192.0.2.2:443 192.0.2.2:443" {
			t.Errorf("dialled %s", got)
		}
		if c.value("update_failure") != 2 || c.value("update_success") != 2 {
			t.Errorf("update_failure %d, update_success %d", c.value("update_failure"), c.value("update_success"))
		}
	})
}

func TestStrictDNS(t *testing.T) {
	var dialled []string
	c := start(t, ofType(clusterv3.Cluster_STRICT_DNS, static1("a.example:1", "gone.example:2", "192.0.2.9:3")), func(d *Deps) {
		d.Resolver = &zone{names: map[string][]string{"a.example": {"192.0.2.1", "192.0.2.2"}}}
		d.Connector = connectorFunc(func(_ context.Context, to network.Address) (network.Conn, error) {
			dialled = append(dialled, to.String())
			return nil, errNope
		})
	})
	for range 4 {
		_, _, _ = c.Open(t.Context(), info())
	}
	if got := strings.Join(dialled, " "); got != "192.0.2.1:1 192.0.2.2:1 192.0.2.9:3 192.0.2.1:1" {
		t.Errorf("dialled %s", got)
	}
	c = start(t, ofType(clusterv3.Cluster_STRICT_DNS, static1("gone.example:2")), func(d *Deps) { d.Resolver = &zone{} })
	if _, _, err := c.Open(t.Context(), info()); network.ReasonFor(err) != network.ReasonDNS || network.FlagFor(err) != network.FlagUH {
		t.Errorf("%v", err)
	}
}

// The check is asked of the address the socket is given, too.
func TestSocketsAskTwice(t *testing.T) {
	addr, accepted := echo(t)
	asked := 0
	_, err := (&sockets{}).Connect(t.Context(), network.AddressOf(mustTCP(addr)), func(netip.AddrPort) error {
		if asked++; asked == 2 {
			return network.WithReason(network.ReasonProhibited, errNope)
		}
		return nil
	})
	if asked != 2 || network.ReasonFor(err) != network.ReasonProhibited || len(accepted) != 0 {
		t.Errorf("asked %d times, %v, %d accepted", asked, err, len(accepted))
	}
}

func mustTCP(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
