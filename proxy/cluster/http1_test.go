package cluster

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/network"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
)

// script is a loopback server of HTTP/1.1 that says, for the nth request of the
// mth connection, both from 1, what to write; a nil answer closes it unanswered.
// It counts connections.
type script struct {
	addr string
	mu   sync.Mutex
	n    int
}

func serveScript(t *testing.T, answer func(conn, request int) []byte) *script {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{addr: ln.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() { // ends when ln is closed, below
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.n++
			n := s.n
			s.mu.Unlock()
			wg.Go(func() { // ends with the connection
				defer c.Close()
				r := bufio.NewReader(c)
				for i := 1; ; i++ {
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					b := answer(n, i)
					if b == nil {
						return
					}
					_, _ = c.Write(b)
				}
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return s
}

func (s *script) conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

var okAnswer = []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

func get() *codec.Request {
	return &codec.Request{Method: "GET", Scheme: "http", Authority: "a.example", Path: "/", HasPath: true, EndStream: true}
}

// ask makes one exchange and returns its status and body.
func ask(t *testing.T, c *Cluster, head *codec.Request) (int, string) {
	t.Helper()
	s, err := c.OpenStream(t.Context(), head, info())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	res, err := s.ReadResponse(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	body := ""
	if !res.EndStream {
		b, err := io.ReadAll(s)
		if err != nil {
			t.Fatal(err)
		}
		body = string(b)
	}
	return res.Status, body
}

// An exchange that is whole leaves its connection for the next; what is open at
// once has one each.
func TestHTTP1KeepAlive(t *testing.T) {
	srv := serveScript(t, func(int, int) []byte { return okAnswer })
	c := start(t, static1(srv.addr), nil)
	for range 3 {
		if status, body := ask(t, c, get()); status != 200 || body != "ok" {
			t.Errorf("%d %q", status, body)
		}
	}
	if srv.conns() != 1 || c.value("upstream_cx_http1_total") != 1 || c.value("upstream_rq_total") != 3 {
		t.Errorf("%d connections, counted %d; %d requests", srv.conns(), c.value("upstream_cx_http1_total"), c.value("upstream_rq_total"))
	}
	i := info()
	a, err := c.OpenStream(t.Context(), get(), i)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.OpenStream(t.Context(), get(), info())
	if err != nil {
		t.Fatal(err)
	}
	if srv := c.value("upstream_cx_active"); srv != 2 || i.Upstream().Protocol != "HTTP/1.1" {
		t.Errorf("%d connections for two at once; upstream %+v", srv, i.Upstream())
	}
	_, _ = a.Close(), b.Close()
}

// G29, FB23: a connection that carried a tunnel, or refused one, or was cut
// short, is not used again.
func TestG29FB23NoReuse(t *testing.T) {
	for name, answer := range map[string]string{
		"G29FB23 tunnel":  "HTTP/1.1 200 OK\r\n\r\npayload",
		"G29FB23 refused": "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
		"G30 202":         "HTTP/1.1 202 Accepted\r\nContent-Length: 10\r\n\r\npayload",
		"G30 coded":       "HTTP/1.1 226 IM\r\nTransfer-Encoding: chunked\r\n\r\npayload",
	} {
		t.Run(name, func(t *testing.T) {
			srv := serveScript(t, func(int, int) []byte { return []byte(answer) })
			c := start(t, static1(srv.addr), nil)
			for want := 1; want <= 2; want++ {
				s, err := c.OpenStream(t.Context(), connectHead(), info())
				if err != nil {
					t.Fatal(err)
				}
				res, err := s.ReadResponse(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if res.Success() {
					b := make([]byte, 7)
					if _, err := io.ReadFull(s, b); err != nil || string(b) != "payload" {
						t.Errorf("payload %q, %v", b, err)
					}
				}
				_ = s.Close()
				if srv.conns() != want {
					t.Errorf("%d connections after %d requests", srv.conns(), want)
				}
			}
		})
	}
}

// A kept connection that dies before a byte of the answer costs the client
// nothing, if the request may be sent twice.
func TestHTTP1Resend(t *testing.T) {
	srv := serveScript(t, func(conn, request int) []byte {
		if conn == 1 && request == 2 {
			return nil
		}
		return okAnswer
	})
	c := start(t, static1(srv.addr), nil)
	_, _ = ask(t, c, get())
	if status, body := ask(t, c, get()); status != 200 || body != "ok" || srv.conns() != 2 {
		t.Errorf("%d %q, %d connections", status, body, srv.conns())
	}
	if c.value("upstream_rq_active") != 0 || c.breaker.requests.active.Load() != 0 {
		t.Error("a request still counts")
	}
	post := get()
	post.Method, post.EndStream = "POST", false
	srv = serveScript(t, func(_, request int) []byte {
		if request == 2 {
			return nil
		}
		return okAnswer
	})
	c = start(t, static1(srv.addr), nil)
	_, _ = ask(t, c, get())
	s, err := c.OpenStream(t.Context(), post, info())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_ = s.CloseWrite()
	if _, err := s.ReadResponse(t.Context()); err == nil || srv.conns() != 1 {
		t.Errorf("a POST was sent again: %v, %d connections", err, srv.conns())
	}
}

func TestMaxRequestsPerConnection(t *testing.T) {
	srv := serveScript(t, func(int, int) []byte { return okAnswer })
	m := static1(srv.addr)
	m.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{MaxRequestsPerConnection: u32(2)}
	c := start(t, m, nil)
	for range 5 {
		_, _ = ask(t, c, get())
	}
	if srv.conns() != 3 || c.value("upstream_cx_max_requests") != 2 {
		t.Errorf("%d connections, %d full", srv.conns(), c.value("upstream_cx_max_requests"))
	}
}

// At max_connections requests stand in line, and are served in their order.
func TestHTTP1Line(t *testing.T) {
	srv := serveScript(t, func(int, int) []byte { return okAnswer })
	m := static1(srv.addr)
	m.CircuitBreakers = &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{MaxConnections: u32(1), MaxPendingRequests: u32(1)}}}
	c := start(t, m, nil)
	first, err := c.OpenStream(t.Context(), get(), info())
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan error, 1)
	go func() { // ends when the first is closed
		s, err := c.OpenStream(t.Context(), get(), info())
		if err == nil {
			_ = s.Close()
		}
		second <- err
	}()
	for c.breaker.pending.active.Load() == 0 {
		select {
		case err := <-second:
			t.Fatalf("the second did not wait: %v", err)
		default:
		}
	}
	if _, err := c.OpenStream(t.Context(), get(), info()); network.ReasonFor(err) != network.ReasonOverflow {
		t.Errorf("the third: %v", err)
	}
	_, _ = first.ReadResponse(t.Context())
	_, _ = io.ReadAll(first)
	_ = first.Close()
	if err := <-second; err != nil || srv.conns() != 1 {
		t.Errorf("the second: %v, %d connections", err, srv.conns())
	}
	if c.value("upstream_cx_overflow") == 0 || c.value("upstream_rq_pending_overflow") != 1 {
		t.Errorf("cx_overflow %d, pending_overflow %d", c.value("upstream_cx_overflow"), c.value("upstream_rq_pending_overflow"))
	}
}

func protocolOptions(t *testing.T, m *clusterv3.Cluster, o *httpv3.HttpProtocolOptions) *clusterv3.Cluster {
	m.TypedExtensionProtocolOptions = options1(t, "envoy.extensions.upstreams.http.v3.HttpProtocolOptions", o)
	return m
}

func TestHeaderKeyFormat(t *testing.T) {
	got := make(chan string, 1)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() { // ends with the request
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, 4096)
		n, _ := c.Read(b)
		_, _ = c.Write(okAnswer)
		got <- string(b[:n])
	}()
	m := protocolOptions(t, static1(ln.Addr().String()), &httpv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{HttpProtocolOptions: &corev3.Http1ProtocolOptions{
				SendFullyQualifiedUrl: true,
				HeaderKeyFormat: &corev3.Http1ProtocolOptions_HeaderKeyFormat{HeaderFormat: &corev3.Http1ProtocolOptions_HeaderKeyFormat_ProperCaseWords_{
					ProperCaseWords: &corev3.Http1ProtocolOptions_HeaderKeyFormat_ProperCaseWords{},
				}},
			}},
		}},
	})
	head := get()
	head.Header.Add("x-some-name", "v")
	_, _ = ask(t, start(t, m, nil), head)
	if s := <-got; !strings.Contains(s, "\r\nX-Some-Name: v\r\n") || !strings.HasPrefix(s, "GET http://a.example/ HTTP/1.1\r\n") {
		t.Errorf("sent %q", s)
	}
}

// E23: whoever leaves the line takes the connection with him that was being
// made for him.
func TestE23LineLeft(t *testing.T) {
	ended := make(chan struct{})
	c := start(t, static1("192.0.2.1:80"), func(d *Deps) {
		d.Connector = connectorFunc(func(ctx context.Context, _ network.Address) (network.Conn, error) {
			<-ctx.Done()
			close(ended)
			return nil, context.Cause(ctx)
		})
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := c.OpenStream(ctx, get(), info()); done <- err }() // ends with ctx
	for c.value("upstream_rq_pending_active") == 0 {
		select {
		case err := <-done:
			t.Fatal(err)
		default:
		}
	}
	cancel()
	if err := <-done; network.ReasonFor(err) != network.ReasonCanceled {
		t.Errorf("%v", err)
	}
	<-ended
}
