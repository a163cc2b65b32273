package router

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	"github.com/google/go-cmp/cmp"

	"culvert/proxy/codec"
	"culvert/proxy/httpfilter/streamtest"
	"culvert/proxy/network"
)

func answer(status int, body string) func(*streamtest.Server) {
	return func(s *streamtest.Server) {
		_ = s.WriteResponse(&codec.Response{Status: status, EndStream: body == ""})
		if body != "" {
			_, _ = s.Write([]byte(body))
			_ = s.CloseWrite()
		}
	}
}

func TestF01F02ProxiedConnect(t *testing.T) {
	heads := make(chan *codec.Request, 1)
	early := make(chan int, 1)
	c := upstream(t, func(s *streamtest.Server) {
		heads <- s.Request()
		early <- s.Buffered()
		_ = s.WriteResponse(&codec.Response{Status: 200})
	})
	req := connect()
	req.EndStream = true // F06: the end follows the answer, as the bytes do
	req.Header = codec.Fields{{Name: "x-a", Value: "b"}}
	x, _ := routed(t, connectRoute, req)
	if err := newRouter(t, c, nil).RoundTrip(t.Context(), x, nil); err != nil {
		t.Fatal(err)
	}
	head := <-heads
	if head.Method != "CONNECT" || head.Authority != "foo.lyft.com:80" || head.Scheme+head.Path+head.Protocol != "" || head.HasPath || head.EndStream {
		t.Errorf("upstream saw %+v", head)
	}
	if !head.Header.Has("x-a") || head.Header.Has("x-envoy-expected-rq-timeout-ms") {
		t.Errorf("upstream fields %v", head.Header)
	}
	if n := <-early; n != 0 {
		t.Errorf("%d bytes reached the upstream before its answer", n)
	}
	if !x.Tunnel() || x.Upstream.Pump != nil {
		t.Error("a 200 to CONNECT makes a tunnel, and nothing is pumped")
	}
}

// RFC 9931, F05: whatever the client sends before a refusal is never forwarded.
func TestF04F05AnswersToConnect(t *testing.T) {
	for status, tunnel := range map[int]bool{200: true, 202: true, 400: false, 403: false, 302: false} {
		c := upstream(t, func(s *streamtest.Server) { _ = s.WriteResponse(&codec.Response{Status: status}) })
		x, client := routed(t, connectRoute, connect())
		_, _ = client.Write([]byte("GET /smuggled"))
		if err := newRouter(t, c, nil).RoundTrip(t.Context(), x, nil); err != nil {
			t.Fatal(err)
		}
		if x.Response.Status != status || x.Tunnel() != tunnel || x.Upstream.Pump != nil {
			t.Errorf("%d: response %+v tunnel %v pump %v", status, x.Response, x.Tunnel(), x.Upstream.Pump)
		}
		if got := x.Stream.(*streamtest.Server).Buffered(); got != len("GET /smuggled") {
			t.Errorf("%d: the router read of the payload, %d bytes are left", status, got)
		}
	}
}

func TestConnectWithPathGoesOutWithout(t *testing.T) {
	heads := make(chan *codec.Request, 1)
	c := upstream(t, func(s *streamtest.Server) { heads <- s.Request(); answer(200, "")(s) })
	req := connect()
	req.Path, req.HasPath, req.Scheme = "/p", true, "https"
	x, _ := routed(t, connectRoute, req)
	if err := newRouter(t, c, nil).RoundTrip(t.Context(), x, nil); err != nil {
		t.Fatal(err)
	}
	if h := <-heads; h.HasPath || h.Path != "" || h.Scheme != "" {
		t.Errorf("upstream saw %+v", h)
	}
	if x.Tunnel() {
		t.Error("a 200 that ends the stream is no tunnel")
	}
}

func TestF07ExtendedConnect(t *testing.T) {
	heads := make(chan *codec.Request, 1)
	c := upstream(t, func(s *streamtest.Server) { heads <- s.Request(); _ = s.WriteResponse(&codec.Response{Status: 200}) })
	req := &codec.Request{Method: "CONNECT", Protocol: "websocket", Scheme: "https", Authority: "a", Path: "/chat", HasPath: true}
	x, _ := routed(t, plainRoute, req)
	if err := newRouter(t, c, nil).RoundTrip(t.Context(), x, nil); err != nil {
		t.Fatal(err)
	}
	if h := <-heads; h.Protocol != "websocket" || h.Path != "/chat" || h.Scheme != "https" {
		t.Errorf("upstream saw %+v", h)
	}
	if !x.Tunnel() {
		t.Error("an accepted upgrade is a tunnel")
	}
}

func TestPlainRequest(t *testing.T) {
	got := make(chan string, 1)
	heads := make(chan *codec.Request, 1)
	c := upstream(t, func(s *streamtest.Server) {
		heads <- s.Request()
		_ = s.WriteResponse(&codec.Response{Status: 103})
		b, _ := io.ReadAll(s)
		got <- string(b) + s.Trailers().Get("sum")
		_ = s.WriteResponse(&codec.Response{Status: 201, Header: codec.Fields{
			{Name: "connection", Value: "x-hop"}, {Name: "x-hop", Value: "1"}, {Name: "keep-alive", Value: "1"}, {Name: "x-end", Value: "2"},
		}})
		_, _ = s.Write([]byte("answer"))
		_ = s.WriteTrailers(codec.Fields{{Name: "t", Value: "1"}})
	})
	req := post()
	req.Header = codec.Fields{
		{Name: "Connection", Value: "close, X-Hop"}, {Name: "x-hop", Value: "1"}, {Name: "te", Value: "gzip"},
		{Name: "transfer-encoding", Value: "chunked"}, {Name: "proxy-connection", Value: "x"}, {Name: "x-end", Value: "2"},
	}
	x, client := routed(t, plainRoute, req)
	var informed []int
	x.InformFunc = func(r *codec.Response) error { informed = append(informed, r.Status); return nil }
	_, _ = client.Write([]byte("body"))
	_ = client.WriteTrailers(codec.Fields{{Name: "sum", Value: "!"}})
	if err := newRouter(t, c, nil).RoundTrip(t.Context(), x, nil); err != nil {
		t.Fatal(err)
	}
	want := codec.Fields{{Name: "x-end", Value: "2"}, {Name: "cdn-loop", Value: "culvert; hops=1"}, {Name: "x-envoy-expected-rq-timeout-ms", Value: "15000"}}
	if diff := cmp.Diff(want, (<-heads).Header); diff != "" {
		t.Errorf("request fields upstream:\n%s", diff)
	}
	if s := <-got; s != "body!" {
		t.Errorf("upstream read %q with trailers, want body!", s)
	}
	if !x.Response.Header.Has("x-envoy-upstream-service-time") || x.Response.Header.Has("x-hop") || x.Response.Header.Has("keep-alive") || !x.Response.Header.Has("x-end") {
		t.Errorf("response fields %v", x.Response.Header)
	}
	if len(informed) != 1 || informed[0] != 103 {
		t.Errorf("informational heads %v, want 103", informed)
	}
	if err, more := <-x.Upstream.Pump; err != nil || more {
		t.Errorf("pump: %v %v", err, more)
	}
	if s := readAll(t, x.Upstream.Stream); s != "answer" || x.Upstream.Stream.Trailers().Get("t") != "1" {
		t.Errorf("response body %q trailers %v", s, x.Upstream.Stream.Trailers())
	}
	if n := x.Info.Meter.BytesReceived(); n != 4 {
		t.Errorf("metered %d bytes of the request, want 4", n)
	}
}

func TestSuppressEnvoyHeaders(t *testing.T) {
	heads := make(chan *codec.Request, 1)
	c := upstream(t, func(s *streamtest.Server) { heads <- s.Request(); answer(200, "")(s) })
	x, _ := routed(t, plainRoute, get())
	if err := newRouter(t, c, &routerv3.Router{SuppressEnvoyHeaders: true}).RoundTrip(t.Context(), x, nil); err != nil {
		t.Fatal(err)
	}
	if h := <-heads; len(h.Header) != 1 || !h.Header.Has("cdn-loop") || !h.EndStream || len(x.Response.Header) != 0 {
		t.Errorf("request %+v response %+v", h, x.Response)
	}
}

func TestUpstreamResetBeforeResponse(t *testing.T) {
	for _, c := range []struct {
		name    string
		req     *codec.Request
		route   string
		code    codec.Code
		reason  network.Reason
		details string
	}{
		{"remote reset", get(), plainRoute, codec.CodeInternal, network.ReasonUnavailable, "remote_reset"},
		{"refused stream", get(), plainRoute, codec.CodeRefused, network.ReasonUnavailable, "remote_refused_stream_reset"},
		{"protocol error", get(), plainRoute, codec.CodeProtocol, network.ReasonUnavailable, "protocol_error"},
		{"CONNECT_ERROR", connect(), connectRoute, codec.CodeConnect, network.ReasonConnectionRefused, "remote_error_with_CONNECT_request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, _ := routed(t, c.route, c.req)
			up := upstream(t, func(s *streamtest.Server) { s.Reset(c.code, errors.New("no")) })
			r := reply(t, newRouter(t, up, nil).RoundTrip(t.Context(), x, nil))
			if r.Status != 503 || r.Flags != network.FlagUR || r.Reason != c.reason {
				t.Errorf("status %d flags %v reason %v", r.Status, r.Flags, r.Reason)
			}
			if want := "upstream_reset_before_response_started{" + c.details + "}"; r.Details != want {
				t.Errorf("details %q, want %q", r.Details, want)
			}
			if !strings.HasPrefix(r.Body, "upstream connect error or disconnect/reset before headers. reset reason: ") {
				t.Errorf("body %q", r.Body)
			}
		})
	}
}

// 101 has no meaning in HTTP/2 (RFC 9113 §8.6; CVE-2024-23326 is the same
// lesson on HTTP/1.1).
func TestSwitchingProtocolsOverHTTP2(t *testing.T) {
	x, _ := routed(t, plainRoute, get())
	up := upstream(t, func(s *streamtest.Server) { _ = s.WriteResponse(&codec.Response{Status: 101}) })
	r := reply(t, newRouter(t, up, nil).RoundTrip(t.Context(), x, nil))
	if r.Status != 502 || r.Flags != network.FlagUPE {
		t.Errorf("%+v", r)
	}
}

func TestRouteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, client := routed(t, plainRoute, post())
		up := upstream(t, func(s *streamtest.Server) { _, _ = io.ReadAll(s) })
		began := time.Now()
		go func() { // ends with the request
			time.Sleep(time.Minute) // a slow upload is not the upstream's fault
			_ = client.CloseWrite()
		}()
		r := reply(t, newRouter(t, up, nil).RoundTrip(t.Context(), x, nil))
		if r.Status != 504 || r.Flags != network.FlagUT || r.Details != "response_timeout" || r.Body != "upstream request timeout" {
			t.Errorf("%+v", r)
		}
		if d := time.Since(began); d != 75*time.Second {
			t.Errorf("answered after %v, want 15 s after the end of the request", d)
		}
	})
}

func TestRouteTimeoutWhileResponding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, _ := routed(t, plainRoute, get())
		up := upstream(t, func(s *streamtest.Server) { _ = s.WriteResponse(&codec.Response{Status: 200}) })
		if err := newRouter(t, up, nil).RoundTrip(t.Context(), x, nil); err != nil {
			t.Fatal(err)
		}
		_, err := x.Upstream.Stream.Read(make([]byte, 1))
		if r := reply(t, err); r.Flags != network.FlagUT {
			t.Errorf("%+v", r)
		}
	})
}

// The route timer bounds neither an established tunnel nor, unless configured,
// its handshake.
func TestRouteTimeoutAndTunnels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := upstream(t, func(s *streamtest.Server) {
			time.Sleep(time.Minute)
			_ = s.WriteResponse(&codec.Response{Status: 200})
			time.Sleep(time.Hour)
			_, _ = s.Write([]byte("x"))
		})
		x, _ := routed(t, connectRoute, connect())
		if err := newRouter(t, up, nil).RoundTrip(t.Context(), x, nil); err != nil {
			t.Fatal(err)
		}
		if n, err := x.Upstream.Stream.Read(make([]byte, 1)); n != 1 {
			t.Errorf("an hour later: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		const route = `{"match":{"connect_matcher":{}},"route":{"cluster":"c","timeout":"3s"}}`
		up := upstream(t, func(s *streamtest.Server) { _, _ = io.ReadAll(s) })
		x, _ := routed(t, route, connect())
		if r := reply(t, newRouter(t, up, nil).RoundTrip(t.Context(), x, nil)); r.Status != 504 || r.Reason != network.ReasonTimeout {
			t.Errorf("configured: %+v", r)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		const route = `{"match":{"connect_matcher":{}},"route":{"cluster":"c","timeout":"3s"}}`
		up := upstream(t, func(s *streamtest.Server) {
			_ = s.WriteResponse(&codec.Response{Status: 200})
			time.Sleep(time.Hour)
			_, _ = s.Write([]byte("x"))
		})
		x, _ := routed(t, route, connect())
		if err := newRouter(t, up, nil).RoundTrip(t.Context(), x, nil); err != nil {
			t.Fatal(err)
		}
		if n, err := x.Upstream.Stream.Read(make([]byte, 1)); n != 1 {
			t.Errorf("configured, an hour after the handshake: %v", err)
		}
	})
}

func TestClientLeavesDuringUpload(t *testing.T) {
	x, client := routed(t, plainRoute, post())
	ended := make(chan error, 1)
	up := upstream(t, func(s *streamtest.Server) { _, err := io.ReadAll(s); ended <- err })
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { client.Reset(codec.CodeCancel, nil); cancel(errors.New("left")) }() // ends at once
	if r := reply(t, newRouter(t, up, nil).RoundTrip(ctx, x, nil)); r.Flags&network.FlagDC == 0 {
		// The pump may see the reset before the context does.
		if r.Flags&(network.FlagUR|network.FlagUC) == 0 {
			t.Errorf("%+v", r)
		}
	}
	if err := <-ended; !network.IsReset(err) {
		t.Errorf("upstream read %v, want a reset", err)
	}
}

// An answer may come before the request is whole, and the rest still arrives.
func TestAnswerBeforeTheRequestEnds(t *testing.T) {
	rest := make(chan string, 1)
	up := upstream(t, func(s *streamtest.Server) {
		_ = s.WriteResponse(&codec.Response{Status: 200})
		b, _ := io.ReadAll(s)
		rest <- string(b)
		_ = s.CloseWrite()
	})
	x, client := routed(t, plainRoute, post())
	if err := newRouter(t, up, nil).RoundTrip(t.Context(), x, nil); err != nil {
		t.Fatal(err)
	}
	_, _ = client.Write([]byte("late"))
	_ = client.CloseWrite()
	if s := <-rest; s != "late" {
		t.Errorf("upstream read %q", s)
	}
}

func TestWrappedRequestBody(t *testing.T) {
	got := make(chan string, 1)
	up := upstream(t, func(s *streamtest.Server) {
		b, _ := io.ReadAll(s)
		got <- string(b)
		_ = s.WriteResponse(&codec.Response{Status: 200, EndStream: true})
	})
	x, _ := routed(t, plainRoute, get())
	x.RequestBody = strings.NewReader("made by a filter")
	if err := newRouter(t, up, nil).RoundTrip(t.Context(), x, nil); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "made by a filter" {
		t.Errorf("upstream read %q", s)
	}
}

func TestDirectResponseAndRedirect(t *testing.T) {
	r := newRouter(t, nil, nil)
	x, _ := routed(t, `{"match":{"prefix":"/"},"direct_response":{"status":418,"body":{"inline_string":"tea"}}}`, get())
	if err := r.RoundTrip(t.Context(), x, nil); err != nil {
		t.Fatal(err)
	}
	if x.Response.Status != 418 || x.Response.Header.Get("content-length") != "3" || readAll(t, x.ResponseBody) != "tea" || x.Info.Details != "direct_response" {
		t.Errorf("direct response %+v", x.Response)
	}
	// D06, and CVE-2026-73547's family: there is no path to build from.
	x, _ = routed(t, `{"match":{"connect_matcher":{}},"redirect":{"path_redirect":"/new"}}`, connect())
	if err := r.RoundTrip(t.Context(), x, nil); err != nil {
		t.Fatal(err)
	}
	if x.Response.Status != 301 || x.Response.Header.Get("location") != "http://foo.lyft.com:80/new" || !x.Response.EndStream {
		t.Errorf("redirect %+v", x.Response)
	}
	x, _ = routed(t, plainRoute, connect())
	if r := reply(t, r.RoundTrip(t.Context(), x, nil)); r.Status != 404 {
		t.Errorf("no route: %+v", r)
	}
}
