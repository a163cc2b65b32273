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
		reaches(t, w.store, "http.in.downstream_rq_header_timeout", 1)
		if got := w.records(); got[0] != "408 request_header_timeout" {
			t.Errorf("records %q", got)
		}
	})
}

// A request that does not come whole in time is answered with 408, unless its
// answer has begun before.
func TestRequestTimeout(t *testing.T) {
	for name, c := range map[string]requestWait{
		"the body stays away":      {true, 408, false},
		"the whole request came":   {false, 200, false},
		"the answer comes earlier": {true, 200, true},
	} {
		t.Run(name, func(t *testing.T) {
			forPairs(t, func(t *testing.T, p pair) {
				inTime(t, func(t *testing.T, d time.Duration) bool { return c.test(t, p, d) })
			})
		})
	}
}

type requestWait struct {
	late   bool // the end of the request
	status int
	echoes bool // answers the head, and sends back what comes
}

func (c requestWait) upstream(s codec.ServerStream, timeout time.Duration) {
	if c.echoes {
		_ = s.WriteResponse(&codec.Response{Status: 200})
		_, _ = io.Copy(s, s)
		_ = s.CloseWrite()
		return
	}
	_, _ = io.Copy(io.Discard, s)
	time.Sleep(3 * timeout / 2) // what the upstream takes is not the request's
	_ = s.WriteResponse(&codec.Response{Status: 200, EndStream: true})
}

// test reports whether what was not to be timed out was in time.
func (c requestWait) test(t *testing.T, p pair, timeout time.Duration) bool {
	route := strings.Replace(plainRoute, "cluster: c", "cluster: c, timeout: 0s", 1)
	w := serve(t, with(route, "request_timeout: "+seconds(timeout)),
		httpOrigin(t, p.up, func(s codec.ServerStream) { c.upstream(s, timeout) }), false)
	s := request(t, w.speak(p.down), post("/"))
	mustWrite(t, s, "body")
	if !c.late {
		_ = s.CloseWrite()
	}
	res := answered(t, s)
	if res.Status == 408 && c.status != 408 {
		return false
	}
	if res.Status != c.status {
		t.Errorf("status %d, want %d", res.Status, c.status)
	}
	if c.late && c.status == 200 {
		time.Sleep(3 * timeout / 2) // the timer had its time
		_ = s.CloseWrite()
	}
	body := ""
	switch {
	case c.status == 408:
		body = "request timeout"
	case c.echoes:
		body = "body"
	}
	if b, err := io.ReadAll(s); string(b) != body || err != nil {
		t.Errorf("body %q, %v", b, err)
	}
	_ = s.Close()
	timeouts := int64(0)
	if c.status == 408 {
		timeouts = 1
		if details := w.lastExchange().Details; details != "request_overall_timeout" {
			t.Errorf("details %q", details)
		}
	}
	reaches(t, w.store, "http.in.downstream_rq_timeout", timeouts)
	return true
}

// A tunnel is a request without an end: only the wait for its answer is bounded.
func TestRequestTimeoutOfATunnel(t *testing.T) {
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		inTime(t, func(t *testing.T, d time.Duration) bool {
			c, far := origin()
			w := serve(t, with(terminateRoute+","+postRoute, "request_timeout: "+seconds(d)), c, m.Secure)
			s := request(t, w.speak(m.Proto), asks(m))
			if res := answered(t, s); res.Status != 200 {
				return false
			}
			time.Sleep(3 * d / 2) // the timer had its time
			mustWrite(t, s, "ping")
			mustRead(t, far, "ping")
			return true
		})
	})
}
