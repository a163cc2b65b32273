package hcm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"
	"culvert/proxy/stats"
	"culvert/tunnel"
)

// proxies is a manager that proxies CONNECT, in front of a cluster of one
// upstream, each of whose connections fn serves.
func proxies(t *testing.T, p pair, s setup, fn func(context.Context, network.Conn)) *gateway {
	t.Helper()
	endpoint, ca := serveConns(t, p.upSecure, fn)
	g := &gateway{mode: tunnel.Mode{Proto: p.down, Secure: p.downSecure}, origin: endpoint, up: stats.NewStore()}
	c := clusterIn(t, g.up, `{"name":"c",`+upstreamOf(t, p.up, endpoint, ca)+comma(s.cluster)+`}`)
	routes := s.routes
	if routes == "" {
		routes = proxyRoute
	}
	g.wire = serve(t, with(routes, recordsLog+"\n"+s.more), c, p.downSecure)
	return g
}

// proxied is a tunnel through a manager that proxies CONNECT: both its ends.
func proxied(t *testing.T, p pair, s setup) (g *gateway, down codec.ClientStream, up codec.ServerStream) {
	t.Helper()
	streams, done := make(chan codec.ServerStream, 1), make(chan struct{})
	g = proxies(t, p, s, serving(p.up, func(s codec.ServerStream) {
		if err := s.WriteResponse(&codec.Response{Status: 200}); err != nil {
			t.Errorf("the upstream's answer: %v", err)
		}
		streams <- s
		<-done
	}))
	t.Cleanup(func() { close(done) }) // the upstream stream is open until then
	down = g.tunnelOf(g.mode)
	return g, down, received(t, streams)
}

// F01: a CONNECT and nothing besides; bytes both ways; each direction ends on
// its own.
func TestF01EveryPair(t *testing.T) {
	forSecurePairs(t, every, func(t *testing.T, p pair) {
		g, down, up := proxied(t, p, setup{})
		req := up.Request()
		if !req.IsConnect() || req.Authority != "foo.lyft.com:80" || req.Scheme+req.Path+req.Protocol != "" || req.HasPath || req.Proto != p.up {
			t.Errorf("the upstream saw %+v", req)
		}
		for _, name := range []string{"content-length", "transfer-encoding", "connection"} {
			if req.Header.Has(name) {
				t.Errorf("the upstream saw %s: %s", name, req.Header.Get(name))
			}
		}
		mustWrite(t, down, "ping")
		mustRead(t, up, "ping")
		mustWrite(t, up, "pong")
		mustRead(t, down, "pong")
		_ = down.CloseWrite()
		mustEnd(t, up)
		mustWrite(t, up, "late")
		mustRead(t, down, "late")
		_ = up.CloseWrite()
		mustEnd(t, down)
		g.wants("200 - via_upstream 4 8 origin")
		g.counted(map[string]int64{
			"downstream_rq_total": 1, "downstream_rq_2xx": 1, "downstream_rq_rx_reset": 0, "downstream_rq_tx_reset": 0,
			"downstream_cx_upgrades_total": 1, "downstream_cx_upgrades_active": 0,
			"upstream_cx_total": 1, "upstream_rq_total": 1,
		})
	})
}

// The upstream's end leaves the client's direction flowing.
func TestProxiedConnectUpstreamEndsFirst(t *testing.T) {
	const upload = 1 << 20
	forSecurePairs(t, every, func(t *testing.T, p pair) {
		g, down, up := proxied(t, p, setup{})
		mustWrite(t, up, "bye")
		_ = up.CloseWrite()
		mustRead(t, down, "bye")
		mustEnd(t, down)
		go func() { // ends with the upload
			mustWrite(t, down, strings.Repeat("x", upload))
			_ = down.CloseWrite()
		}()
		if n, err := io.Copy(io.Discard, up); n != upload || err != nil {
			t.Errorf("the upstream read %d bytes, %v", n, err)
		}
		g.wants("200 - via_upstream 1048576 3 origin")
	})
}

// A reset is a reset on the other side, never an end.
func TestProxiedConnectResets(t *testing.T) {
	forSecurePairs(t, every, func(t *testing.T, p pair) {
		t.Run("by the client", func(t *testing.T) {
			g, down, up := proxied(t, p, setup{})
			mustWrite(t, down, "ping")
			mustRead(t, up, "ping")
			down.Reset(codec.CodeCancel, nil)
			mustReset(t, up)
			g.wants("200 DC downstream_remote_disconnect 4 0 origin")
		})
		t.Run("by the upstream", func(t *testing.T) {
			g, down, up := proxied(t, p, setup{})
			mustWrite(t, up, "last words")
			mustRead(t, down, "last words")
			up.Reset(codec.CodeConnect, nil)
			mustReset(t, down)
			if p.down == codec.HTTP11 {
				g.disconnected() // our own reset of the connection is no error
			}
			g.wants("200 UC upstream_reset_after_response_started{connection_termination} 0 10 origin")
		})
	})
}

// The cluster bounds how long a tunnel lives, whichever its version is.
func TestProxiedConnectMaxDuration(t *testing.T) {
	forSecurePairs(t, every, func(t *testing.T, p pair) {
		inTime(t, func(t *testing.T, d time.Duration) bool {
			up := make(chan error, 1)
			bound := setup{cluster: `"common_http_protocol_options":{"max_stream_duration":"` + seconds(d) + `"}`}
			g := proxies(t, p, bound, serving(p.up, func(s codec.ServerStream) {
				_ = s.WriteResponse(&codec.Response{Status: 200})
				_, err := s.Read(make([]byte, 1))
				up <- err
			}))
			down := request(t, g.speak(p.down), asks(g.mode))
			if answered(t, down).Status != 200 {
				return false
			}
			mustReset(t, down)
			if err := received(t, up); !network.IsReset(err) {
				t.Errorf("the upstream read %v, want a reset", err)
			}
			g.wants("200 UMSDR upstream_max_stream_duration_reached 0 0 origin")
			g.counted(map[string]int64{"upstream_rq_max_duration_reached": 1, "downstream_rq_tx_reset": 1})
			return true
		})
	})
}

// silent checks that nothing is to be read from a stream for a moment.
func silent(t *testing.T, r interface {
	io.Reader
	SetReadDeadline(time.Time) error
}) {
	t.Helper()
	_ = r.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d bytes, %v; want silence", n, err)
	}
	_ = r.SetReadDeadline(time.Now().Add(soon))
}

// eager is a client that sends what it has behind its CONNECT at once.
type eager struct {
	io.ReadWriter
	answer func() (status string, header string)
	end    func()
}

// asksAtOnce asks for a tunnel, and sends early before there is an answer.
func (g *gateway) asksAtOnce(early string) eager {
	g.t.Helper()
	if g.mode.Proto == codec.HTTP2 {
		s := request(g.t, g.speak(codec.HTTP2), connect())
		mustWrite(g.t, s, early)
		return eager{s, func() (string, string) {
			res := answered(g.t, s)
			header := ""
			for _, f := range res.Header {
				header += strings.ToLower(f.Name) + ": " + f.Value + "\r\n"
			}
			return statusText(res.Status), header
		}, func() { _ = s.CloseWrite() }}
	}
	c := g.dialFor(codec.HTTP11)
	mustWrite(g.t, c, "CONNECT foo.lyft.com:80 HTTP/1.1\r\nHost: foo.lyft.com:80\r\n\r\n"+early)
	return eager{c, func() (string, string) {
		head := strings.ToLower(readHead(g.t, c))
		line, header, _ := strings.Cut(head, "\r\n")
		return strings.TrimPrefix(line, "http/1.1 ")[:3], header
	}, func() { _ = c.CloseWrite() }}
}

func statusText(code int) string {
	return string([]byte{byte('0' + code/100), byte('0' + code/10%10), byte('0' + code%10)})
}

// F02, FB40: payload that comes early waits for the 200, and is then sent as it
// is, whatever it looks like.
func TestF02FB40EveryPair(t *testing.T) {
	const early = "5\r\nearly\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"
	forSecurePairs(t, every, func(t *testing.T, p pair) {
		g := proxies(t, p, setup{}, serving(p.up, func(s codec.ServerStream) {
			waits(t, s)
			if err := s.WriteResponse(&codec.Response{Status: 200}); err != nil {
				t.Errorf("the upstream's answer: %v", err)
			}
			mustRead(t, s, early+"late")
			mustEnd(t, s)
			mustWrite(t, s, "0\r\n\r\n")
			_ = s.CloseWrite()
		}))
		client := g.asksAtOnce(early)
		if status, header := client.answer(); status != "200" || framed(header) {
			t.Errorf("answered %s\n%s", status, header)
		}
		mustWrite(t, client, "late")
		client.end()
		mustRead(t, client, "0\r\n\r\n")
		mustEnd(t, client)
		g.wants("200 - via_upstream 37 5 origin")
	})
}

// waits checks that no payload comes behind a CONNECT for a moment. It is not
// asked for by reading: HTTP/1.1 has none before its answer.
func waits(t *testing.T, s codec.ServerStream) {
	t.Helper()
	_ = s.Context() // from here on an HTTP/1.1 server looks at what comes
	deadline := time.Now().Add(50 * time.Millisecond)
	for time.Now().Before(deadline) {
		if s.(interface{ EarlyData() bool }).EarlyData() {
			t.Error("payload came before the answer")
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// F04: a client is told the very 2xx; HTTP/2 upstreams say 200, as RFC 9113 has
// it, but whatever they say is passed on.
func TestF04EveryPair(t *testing.T) {
	forSecurePairs(t, every, func(t *testing.T, p pair) {
		g := proxies(t, p, setup{}, serving(p.up, func(s codec.ServerStream) {
			_ = s.WriteResponse(&codec.Response{Status: 202})
			_, _ = io.Copy(s, s)
			_ = s.CloseWrite()
		}))
		down := request(t, g.speak(p.down), connect())
		if res := answered(t, down); res.Status != 202 || res.EndStream {
			t.Fatalf("%+v, want 202 and an open stream", res)
		}
		mustWrite(t, down, "ping")
		mustRead(t, down, "ping")
		_ = down.CloseWrite()
		mustEnd(t, down)
		g.wants("202 - via_upstream 4 4 origin")
	})
}

// F05, RFC 9931: a refusal is passed on with its body, nothing of what the
// client sent reaches the upstream, and an HTTP/1.1 connection ends.
func TestF05EveryPair(t *testing.T) {
	forSecurePairs(t, every, func(t *testing.T, p pair) {
		read := make(chan string, 1)
		g := proxies(t, p, setup{}, serving(p.up, func(s codec.ServerStream) {
			waits(t, s)
			_ = s.WriteResponse(&codec.Response{Status: 400, Header: codec.Fields{{Name: "why", Value: "so"}}})
			mustWrite(t, s, "no")
			_ = s.CloseWrite()
			b, _ := io.ReadAll(s)
			read <- string(b)
		}))
		client := g.asksAtOnce("GET /smuggled HTTP/1.1\r\n\r\n")
		if status, header := client.answer(); status != "400" || !strings.Contains(header, "why: so") {
			t.Errorf("answered %s\n%s", status, header)
		}
		body, err := io.ReadAll(client)
		if p.down == codec.HTTP2 {
			if string(body) != "no" || err != nil {
				t.Errorf("body %q, %v", body, err)
			}
		} else {
			if !strings.Contains(string(body), "no") || err != nil { // in a chunk
				t.Errorf("body %q, %v", body, err)
			}
			client.end()
			g.disconnected()
		}
		if got := received(t, read); got != "" {
			t.Errorf("the upstream read %q", got)
		}
		g.wants("400 - via_upstream 0 2 origin")
		g.counted(map[string]int64{"downstream_rq_4xx": 1, "downstream_rq_total": 1, "downstream_cx_upgrades_active": 0})
	})
}

// F06: a client that ended its direction before the answer ends the tunnel's
// behind it. Over HTTP/1.1 such a client has left.
func TestF06EveryPair(t *testing.T) {
	fromHTTP2 := func(p pair) bool { return p.down == codec.HTTP2 }
	forSecurePairs(t, fromHTTP2, func(t *testing.T, p pair) {
		g := proxies(t, p, setup{}, serving(p.up, func(s codec.ServerStream) {
			waits(t, s)
			_ = s.WriteResponse(&codec.Response{Status: 200})
			mustRead(t, s, "all")
			mustEnd(t, s)
			mustWrite(t, s, "late")
			_ = s.CloseWrite()
		}))
		down := request(t, g.speak(p.down), connect())
		mustWrite(t, down, "all")
		_ = down.CloseWrite()
		if res := answered(t, down); res.Status != 200 || res.EndStream {
			t.Fatalf("%+v, want 200 and an open stream", res)
		}
		mustRead(t, down, "late")
		mustEnd(t, down)
		g.wants("200 - via_upstream 3 4 origin")
	})
}

// F07: a manager that also lists websocket forwards an extended CONNECT for it as
// an upgrade, in the words of the upstream's version, and answers in the client's.
func TestF07EveryPair(t *testing.T) {
	const more = "upgrade_configs: [{upgrade_type: CONNECT}, {upgrade_type: websocket}]\nhttp2_protocol_options: {allow_connect: true}"
	forSecurePairs(t, every, func(t *testing.T, p pair) {
		g := proxies(t, p, setup{routes: plainRoute, more: more}, serving(p.up, func(s codec.ServerStream) {
			req := s.Request()
			method, yes := "GET", &codec.Response{Status: 101, Protocol: "websocket"}
			if p.up == codec.HTTP2 {
				method, yes = "CONNECT", &codec.Response{Status: 200}
			}
			if req.Method != method || req.Protocol != "websocket" || req.Path != "/ws" || req.Authority != "foo.com" {
				t.Errorf("the upstream saw %+v", req)
			}
			if err := s.WriteResponse(yes); err != nil {
				t.Errorf("the upstream's answer: %v", err)
			}
			_, _ = io.Copy(s, s)
			_ = s.CloseWrite()
		}))
		req, yes := extended("websocket"), 200
		if p.down == codec.HTTP11 { // which asks for an upgrade itself
			req.Method, yes = "GET", 101
		}
		down := request(t, g.speak(p.down), req)
		if res := answered(t, down); res.Status != yes || res.EndStream {
			t.Fatalf("%+v, want %d and an open stream", res, yes)
		}
		mustWrite(t, down, "ping")
		mustRead(t, down, "ping")
		_ = down.CloseWrite()
		mustEnd(t, down)
		g.settle(1)
		g.counted(map[string]int64{"downstream_cx_upgrades_total": 1, "downstream_cx_upgrades_active": 0})
	})
}

// readHead reads a head byte by byte, and nothing behind it.
func readHead(t *testing.T, c io.Reader) string {
	t.Helper()
	var head []byte
	for b := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, b...) {
		if _, err := io.ReadFull(c, b); err != nil {
			t.Errorf("head %q: %v", head, err)
			return string(head)
		}
	}
	return string(head)
}

// F03, F08, FB40: byte for byte, in front of an HTTP/1.1 upstream that is no
// codec. What its yes says of a body means nothing.
func TestF03F08FB40EveryPair(t *testing.T) {
	toHTTP1 := func(p pair) bool { return p.up == codec.HTTP11 }
	forSecurePairs(t, toHTTP1, func(t *testing.T, p pair) {
		for name, fields := range map[string]string{
			"F08 200": "", "F03 FB40 200 and chunked": "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
		} {
			t.Run(name, func(t *testing.T) { passesBytes(t, p, fields) })
		}
	})
}

// passesBytes has an upstream say yes with fields.
func passesBytes(t *testing.T, p pair, fields string) {
	g := proxies(t, p, setup{}, func(_ context.Context, c network.Conn) {
		_ = c.SetDeadline(time.Now().Add(soon))
		head := readHead(t, c)
		if !strings.HasPrefix(head, "CONNECT foo.lyft.com:80 HTTP/1.1\r\n") || framed(head) {
			t.Errorf("the upstream read %q", head)
		}
		silent(t, c)
		mustWrite(t, c, "HTTP/1.1 200 OK\r\n"+fields+"\r\n5\r\nhello")
		mustRead(t, c, "5\r\nearly\x00\xff0\r\n\r\n")
		mustWrite(t, c, "0\r\n\r\n\x16\x03")
		mustEnd(t, c)
		_ = c.CloseWrite()
	})
	client := g.asksAtOnce("5\r\nearly")
	if status, header := client.answer(); status != "200" || framed(header) {
		t.Errorf("answered %s\n%s", status, header)
	}
	mustRead(t, client, "5\r\nhello")
	mustWrite(t, client, "\x00\xff0\r\n\r\n")
	mustRead(t, client, "0\r\n\r\n\x16\x03")
	client.end()
	mustEnd(t, client)
	g.wants("200 - via_upstream 15 15 origin")
}

// framed reports whether a header speaks of a body or of the connection.
func framed(header string) bool {
	header = strings.ToLower(header)
	return strings.Contains(header, "transfer-encoding:") || strings.Contains(header, "content-length:") ||
		strings.Contains(header, "connection:")
}
