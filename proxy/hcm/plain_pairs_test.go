package hcm

import (
	"io"
	"strings"
	"testing"

	"culvert/proxy/codec"
)

// plain is a manager of plain requests in front of an upstream, and a client.
func plain(t *testing.T, p pair, routes string, fn func(codec.ServerStream)) (*wire, httpClient) {
	t.Helper()
	w := serve(t, with(routes, ""), httpOrigin(t, p.up, fn), false)
	return w, w.speak(p.down)
}

// Both directions stream at once, the trailers of both arrive, and informational
// heads come before the final one.
func TestPlainPairsStreamBothWays(t *testing.T) {
	forPairs(t, func(t *testing.T, p pair) {
		_, cc := plain(t, p, plainRoute, func(s codec.ServerStream) {
			if s.Request().Header.Get("expect") != "100-continue" {
				t.Errorf("the upstream saw %v", s.Request().Header)
			}
			_ = s.WriteResponse(&codec.Response{Status: 100})
			_ = s.WriteResponse(&codec.Response{Status: 103, Header: codec.Fields{{Name: "link", Value: "</a>"}}})
			_ = s.WriteResponse(&codec.Response{Status: 200, Header: codec.Fields{{Name: "trailer", Value: "sum"}}})
			for range 3 {
				mustRead(t, s, "ping")
				mustWrite(t, s, "pong")
			}
			mustEnd(t, s)
			_ = s.WriteTrailers(codec.Fields{{Name: "sum", Value: s.Trailers().Get("sum")}})
		})
		req := post("/x?y=1")
		req.Header.Add("expect", "100-continue")
		s := request(t, cc, req)
		for _, want := range []int{100, 103, 200} {
			if res := answered(t, s); res.Status != want {
				t.Fatalf("status %d, want %d", res.Status, want)
			}
		}
		for range 3 {
			mustWrite(t, s, "ping")
			mustRead(t, s, "pong")
		}
		_ = s.WriteTrailers(codec.Fields{{Name: "sum", Value: "12"}})
		mustEnd(t, s)
		if got := s.Trailers().Get("sum"); got != "12" {
			t.Errorf("trailers %v", s.Trailers())
		}
		_ = s.Close()
		if !cc.CanOpen() {
			t.Error("the connection is not usable again")
		}
	})
}

// Answers that have no body leave the connections usable.
func TestPlainPairsWithoutBody(t *testing.T) {
	forPairs(t, func(t *testing.T, p pair) {
		_, cc := plain(t, p, plainRoute, func(s codec.ServerStream) {
			res := &codec.Response{Status: 200, EndStream: true}
			switch s.Request().Path {
			case "/204":
				res.Status = 204
			case "/304":
				res.Status = 304
				res.Header.Add("content-length", "5")
			case "/head":
				res.Header.Add("content-length", "5")
			}
			_ = s.WriteResponse(res)
		})
		for _, c := range []struct {
			method, path, length string
			status               int
		}{{"GET", "/204", "", 204}, {"GET", "/304", "5", 304}, {"HEAD", "/head", "5", 200}, {"GET", "/", "", 200}} {
			req := get(c.path)
			req.Method = c.method
			s := request(t, cc, req)
			res := answered(t, s)
			if n := res.Header.Get("content-length"); res.Status != c.status || n != c.length && n != "0" {
				t.Errorf("%s %s: %+v", c.method, c.path, res)
			}
			mustEnd(t, s)
			_ = s.Close()
		}
	})
}

// What concerns one connection stays on it, lengths are the codec's to say, and
// the authority is the one that was asked for.
func TestPlainPairsHeaderHygiene(t *testing.T) {
	forPairs(t, func(t *testing.T, p pair) {
		heads := make(chan *codec.Request, 1)
		_, cc := plain(t, p, plainRoute, func(s codec.ServerStream) {
			heads <- s.Request()
			b, _ := io.ReadAll(s)
			_ = s.WriteResponse(&codec.Response{Status: 200, Header: codec.Fields{
				{Name: "keep-alive", Value: "timeout=5"}, {Name: "x-end", Value: "1"},
			}})
			mustWrite(t, s, string(b))
			_ = s.CloseWrite()
		})
		req := post("/x")
		req.Header = codec.Fields{{Name: "te", Value: "trailers"}, {Name: "cookie", Value: "a=1"}, {Name: "content-length", Value: "4"}}
		s := request(t, cc, req)
		mustWrite(t, s, "body")
		_ = s.CloseWrite()
		res := answered(t, s)
		mustRead(t, s, "body")
		mustEnd(t, s)
		if res.Header.Has("keep-alive") || res.Header.Has("connection") || res.Header.Get("x-end") != "1" {
			t.Errorf("the client saw %v", res.Header)
		}
		head := <-heads
		if head.Authority != "foo.com" || head.Method != "POST" || head.Path != "/x" || head.Header.Get("cookie") != "a=1" ||
			head.Header.Get("content-length") != "4" || head.Header.Has("transfer-encoding") || head.Header.Has("host") {
			t.Errorf("the upstream saw %+v", head)
		}
	})
}

// A raw client that tries to say more than one thing at once: fields that
// Connection names go, Host yields to the target, h2c is not offered on.
func TestPlainHTTP1Smuggling(t *testing.T) {
	for _, up := range []codec.Proto{codec.HTTP11, codec.HTTP2} {
		t.Run(up.String(), func(t *testing.T) {
			heads := make(chan *codec.Request, 1)
			w, _ := plain(t, pair{down: codec.HTTP11, up: up}, plainRoute, func(s codec.ServerStream) {
				heads <- s.Request()
				_ = s.WriteResponse(&codec.Response{Status: 200, EndStream: true})
			})
			c := w.dial1()
			defer c.Close()
			res, _ := ask(t, c, "GET", "GET http://a.example/p HTTP/1.1\r\nHost: b.example\r\n"+
				"Connection: x-hop, Upgrade, HTTP2-Settings\r\nX-Hop: 1\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nX-End: 1\r\n\r\n")
			if res.StatusCode != 200 {
				t.Fatalf("status %d", res.StatusCode)
			}
			head := <-heads
			if head.Authority != "a.example" || head.Path != "/p" || head.Protocol != "" || head.Header.Get("x-end") != "1" {
				t.Errorf("the upstream saw %+v", head)
			}
			for _, name := range []string{"x-hop", "connection", "upgrade", "http2-settings", "host"} {
				if head.Header.Has(name) {
					t.Errorf("the upstream saw %s", name)
				}
			}
		})
	}
}

// An upstream that resets before its answer, or breaks it off behind, and one
// that does not answer in time.
func TestPlainPairsUpstreamFails(t *testing.T) {
	forPairs(t, func(t *testing.T, p pair) {
		const slow = `{match: {prefix: "/slow"}, route: {cluster: c, timeout: 0.2s}},`
		w, cc := plain(t, p, slow+plainRoute, func(s codec.ServerStream) {
			switch s.Request().Path {
			case "/reset":
				s.Reset(codec.CodeCancel, nil)
			case "/broken":
				_ = s.WriteResponse(&codec.Response{Status: 200})
				mustWrite(t, s, "part")
				s.Reset(codec.CodeInternal, nil)
			default:
				<-s.Context().Done()
			}
		})
		for path, want := range map[string]int{"/reset": 503, "/slow": 504} {
			s := request(t, cc, get(path))
			if res := answered(t, s); res.Status != want {
				t.Errorf("%s: status %d, want %d", path, res.Status, want)
			}
			_, _ = io.Copy(io.Discard, s)
			_ = s.Close()
		}
		s := request(t, w.speak(p.down), get("/broken"))
		if _, err := s.ReadResponse(t.Context()); err == nil {
			if b, err := io.ReadAll(s); err == nil {
				t.Errorf("a response that was broken off ended well: %q", b)
			}
		}
	})
}

// An answer that is no HTTP is 502.
func TestPlainMalformedUpstream(t *testing.T) {
	for _, down := range []codec.Proto{codec.HTTP11, codec.HTTP2} {
		t.Run(down.String(), func(t *testing.T) {
			w := serve(t, with(plainRoute, ""), malformed(t, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), false)
			s := request(t, w.speak(down), get("/"))
			res := answered(t, s)
			if body, _ := io.ReadAll(s); res.Status != 502 || !strings.HasSuffix(string(body), "reset reason: protocol error") {
				t.Errorf("%d %q", res.Status, body)
			}
		})
	}
}

// A success of HTTP/1.1 is no answer to an upgrade (CVE-2024-23326): a client of
// HTTP/1.1 gets it as an ordinary response, one of HTTP/2 gets none that it
// would take for a yes.
func TestUpgradeThatDidNotSwitch(t *testing.T) {
	for down, want := range map[codec.Proto]int{codec.HTTP11: 200, codec.HTTP2: 502} {
		t.Run(down.String(), func(t *testing.T) {
			const more = "upgrade_configs: [{upgrade_type: websocket}]\nhttp2_protocol_options: {allow_connect: true}"
			w := serve(t, with(plainRoute, more), malformed(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"), false)
			req := extended("websocket")
			if down == codec.HTTP11 {
				req.Method = "GET"
			}
			s := request(t, w.speak(down), req)
			if res := answered(t, s); res.Status != want {
				t.Errorf("status %d, want %d", res.Status, want)
			}
		})
	}
}
