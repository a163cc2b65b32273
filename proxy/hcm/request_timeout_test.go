package hcm

import (
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"culvert/proxy/codec"
	"culvert/tunnel"
)

// versions runs body for each version of HTTP downstream.
func versions(t *testing.T, body func(t *testing.T, p codec.Proto)) {
	t.Helper()
	for _, p := range []codec.Proto{codec.HTTP11, codec.HTTP2} {
		t.Run(p.String(), func(t *testing.T) { body(t, p) })
	}
}

// A head that does not come in time is answered with 408, counted and recorded.
func TestRequestHeadersTimeout(t *testing.T) {
	const format = `, log_format: {text_format_source: {inline_string: "%RESPONSE_CODE% %RESPONSE_CODE_DETAILS%\n"}}`
	text := "request_headers_timeout: 0.1s\n" + strings.Replace(stdoutLog, "%", format, 1)
	versions(t, func(t *testing.T, p codec.Proto) {
		w := serve(t, with(directRoute, text), nil, false)
		r := &rawConnect{t: t, c: w.dial()}
		defer r.c.Close()
		_ = r.c.SetDeadline(time.Now().Add(soon))
		if p == codec.HTTP2 {
			r.preface()
			_ = r.two.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block("GET")[:3]})
		} else {
			mustWrite(t, r.c, "GET / HTTP/1.1\r\nHost:")
		}
		if status, ended := r.answer(); status != "408" || !ended {
			t.Errorf("status %s, ended %v", status, ended)
		}
		_ = r.c.Close()
		<-w.errs
		// over HTTP/2 it is counted behind the answer, and recorded before
		for deadline := time.Now().Add(soon); w.stat("downstream_rq_header_timeout") == 0 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		if n := w.stat("downstream_rq_header_timeout"); n != 1 {
			t.Errorf("downstream_rq_header_timeout %d", n)
		}
		if got := w.records(); got[0] != "408 request_header_timeout" {
			t.Errorf("records %q", got)
		}
	})
}

// A request that does not come whole in time is answered with 408, unless its
// answer has begun before.
func TestRequestTimeout(t *testing.T) {
	const timeout = 200 * time.Millisecond
	reads := func(s codec.ServerStream) {
		_, _ = io.Copy(io.Discard, s)
		time.Sleep(2 * timeout) // what the upstream takes is not the request's
		_ = s.WriteResponse(&codec.Response{Status: 200, EndStream: true})
	}
	answers := func(s codec.ServerStream) {
		_ = s.WriteResponse(&codec.Response{Status: 200})
		n, _ := io.Copy(io.Discard, s)
		_, _ = s.Write(make([]byte, n))
		_ = s.CloseWrite()
	}
	for name, c := range map[string]struct {
		upstream func(codec.ServerStream)
		late     bool // the end of the request
		status   int
		body     int
	}{
		"the body stays away":      {reads, true, 408, len("request timeout")},
		"the whole request came":   {reads, false, 200, 0},
		"the answer comes earlier": {answers, true, 200, len("body")},
	} {
		t.Run(name, func(t *testing.T) {
			forPairs(t, func(t *testing.T, p pair) {
				w := serve(t, with(plainRoute, "request_timeout: 0.2s"), httpOrigin(t, p.up, c.upstream), false)
				s := request(t, w.speak(p.down), post("/"))
				mustWrite(t, s, "body")
				if !c.late {
					_ = s.CloseWrite()
				}
				if res := answered(t, s); res.Status != c.status {
					t.Errorf("status %d, want %d", res.Status, c.status)
				}
				if c.late && c.status == 200 {
					time.Sleep(2 * timeout) // the timer had its time
					_ = s.CloseWrite()
				}
				if b, err := io.ReadAll(s); len(b) != c.body || err != nil {
					t.Errorf("body %q, %v", b, err)
				}
				_ = s.Close()
				want := int64(0)
				if c.status == 408 {
					want = 1
					if details := w.lastExchange().Details; details != "request_overall_timeout" {
						t.Errorf("details %q", details)
					}
				}
				if n := w.stat("downstream_rq_timeout"); n != want {
					t.Errorf("downstream_rq_timeout %d, want %d", n, want)
				}
			})
		})
	}
}

// A tunnel is a request without an end: only the wait for its answer is bounded.
func TestRequestTimeoutOfATunnel(t *testing.T) {
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		c, far := origin()
		w := serve(t, with(terminateRoute+","+postRoute, "request_timeout: 0.1s"), c, m.Secure)
		s := w.tunnelOf(m)
		time.Sleep(300 * time.Millisecond) // the timer had its time
		mustWrite(t, s, "ping")
		mustRead(t, far, "ping")
	})
}
