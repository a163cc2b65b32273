package hcm

import (
	"context"
	"io"
	"strings"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/network"
	"culvert/test/ports"
	"culvert/tunnel"
)

// overHTTP1 are the modes of HTTP/1.1 CONNECT.
func overHTTP1(m tunnel.Mode) bool { return m.Raw() }

// connects are the modes of CONNECT.
func connects(m tunnel.Mode) bool { return m.Method == tunnel.MethodConnect }

// FB37: a CONNECT goes to its target, whatever Host says.
func TestFB37ConnectTargetWins(t *testing.T) {
	const byAuthority = `"type":"ORIGINAL_DST","lb_policy":"CLUSTER_PROVIDED",
		"original_dst_lb_config":{"use_http_header":true,"http_header_name":":authority"}`
	forSome(t, overHTTP1, func(t *testing.T, m tunnel.Mode) {
		target := serveTCP(t, "127.0.0.1:0", echo)
		g := gatewayTo(t, m, setup{cluster: byAuthority}, "")
		g.origin = target
		c := g.dialFor(m.Proto)
		mustWrite(t, c, "CONNECT "+target+" HTTP/1.1\r\nHost: "+ports.Closed(t)+"\r\n\r\n")
		if head := readHead(t, c); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
			t.Fatalf("head %q", head)
		}
		mustWrite(t, c, "ping")
		mustRead(t, c, "ping")
		_ = c.CloseWrite()
		mustEnd(t, c)
		g.wants("200 - via_upstream 4 4 origin")
	})
	forSome(t, overHTTP1, func(t *testing.T, m tunnel.Mode) {
		t.Run("proxied", func(t *testing.T) {
			p := pair{down: codec.HTTP11, up: codec.HTTP11, downSecure: m.Secure}
			g := proxies(t, p, setup{}, func(_ context.Context, c network.Conn) {
				head := readHead(t, c)
				if !strings.HasPrefix(head, "CONNECT a.example:80 HTTP/1.1\r\n") || strings.Contains(head, "b.example") {
					t.Errorf("the upstream read %q", head)
				}
				mustWrite(t, c, "HTTP/1.1 200 OK\r\n\r\n")
				mustEnd(t, c)
				_ = c.CloseWrite()
			})
			c := g.dialFor(m.Proto)
			mustWrite(t, c, "CONNECT a.example:80 HTTP/1.1\r\nHost: b.example:80\r\n\r\n")
			if head := readHead(t, c); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
				t.Errorf("head %q", head)
			}
			_ = c.CloseWrite()
			mustEnd(t, c)
		})
	})
}

// FB38: a CONNECT for which there is no route is a 404, on whichever listener it
// comes; an HTTP/2 connection is good for the next request, an HTTP/1.1 one ends.
func TestFB38NoConnectRoute(t *testing.T) {
	forSome(t, connects, func(t *testing.T, m tunnel.Mode) {
		for _, listener := range []string{"one listener", "another"} {
			t.Run(listener, func(t *testing.T) {
				g := gatewayTo(t, m, setup{routes: directRoute}, ports.Closed(t))
				cc := g.speak(m.Proto)
				s := request(t, cc, connect())
				if res := answered(t, s); res.Status != 404 {
					t.Errorf("status %d, want 404", res.Status)
				}
				if b, err := io.ReadAll(s); len(b) != 0 || err != nil {
					t.Errorf("body %q, %v", b, err)
				}
				_ = s.Close()
				if again := cc.CanOpen(); again != m.Shared() {
					t.Fatalf("another exchange may begin on the connection: %v", again)
				}
				if !m.Shared() {
					g.disconnected()
					g.wants("404 NR route_not_found 0 0 -")
					return
				}
				g.settle(1)
				s = request(t, cc, get("/"))
				if res := answered(t, s); res.Status != 200 {
					t.Errorf("the next request: status %d", res.Status)
				}
				mustRead(t, s, "hello")
				g.wants("404 NR route_not_found 0 0 -", "200 - direct_response 0 5 -")
				g.counted(map[string]int64{"downstream_cx_total": 1})
			})
		}
	})
}

// FB39: an HTTP/1.1 CONNECT has no body; one that announces it is refused, and
// the connection with it.
func TestFB39ConnectWithBody(t *testing.T) {
	forSome(t, overHTTP1, func(t *testing.T, m tunnel.Mode) {
		for name, fields := range map[string]string{
			"chunked": "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
			"length":  "Content-Length: 5\r\n\r\nhello",
		} {
			t.Run(name, func(t *testing.T) {
				g := gatewayTo(t, m, setup{routes: terminateRoute + "," + directRoute}, ports.Closed(t))
				c := g.dialFor(m.Proto)
				mustWrite(t, c, "CONNECT foo.lyft.com:80 HTTP/1.1\r\nHost: foo.lyft.com:80\r\n"+fields)
				head := readHead(t, c)
				if !strings.HasPrefix(head, "HTTP/1.1 400 ") && !strings.HasPrefix(head, "HTTP/1.1 501 ") {
					t.Errorf("head %q, want 400 or 501", head)
				}
				if rest, _ := io.ReadAll(c); len(rest) != 0 {
					t.Errorf("behind the refusal: %q", rest)
				}
				_ = c.CloseWrite()
				if err := received(t, g.errs); err == nil {
					t.Error("the connection ended well")
				}
				g.counted(map[string]int64{"downstream_cx_protocol_error": 1, "downstream_rq_total": 0})
			})
		}
	})
}

// FB41: a filter that takes the authority away makes a 503 that says so, terminated
// or proxied.
func TestFB41FilterRemovesAuthority(t *testing.T) {
	faulty := filterFunc(func(ctx context.Context, x *codec.Exchange, next codec.RoundTripper) error {
		x.Request.Authority = ""
		return next(ctx, x)
	})
	forSome(t, connects, func(t *testing.T, m tunnel.Mode) {
		for name, route := range map[string]string{"terminated": terminateRoute, "proxied": proxyRoute} {
			t.Run(name, func(t *testing.T) {
				text := strings.Replace(with(route, recordsLog), "[{name: router}]", "[{name: faulty}, {name: router}]", 1)
				w := serveWith(t, text, fakeCluster{}, map[string]codec.Filter{"faulty": faulty}, m.Secure)
				g := &gateway{wire: w, mode: m}
				g.refused(connect(), 503, "", "proxy_internal_error")
				g.wants("503 - filter_removed_required_request_headers 0 0 -")
			})
		}
	})
}
