package h2_test

import (
	"context"
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h2"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
)

// echo answers 200 and sends back what comes, in both directions' own time.
func echo(ctx context.Context, s codec.ServerStream) {
	if s.WriteResponse(&codec.Response{Status: 200}) != nil {
		return
	}
	if _, err := io.Copy(s, s); err == nil {
		_ = s.CloseWrite()
	}
}

// requests is a handler that hands over the request head and answers 204.
func requests() (codec.ServerHandler, <-chan *codec.Request) {
	ch := make(chan *codec.Request, 4096)
	return func(ctx context.Context, s codec.ServerStream) {
		ch <- s.Request()
		_ = s.WriteResponse(&codec.Response{Status: 204, EndStream: true})
		_, _ = io.Copy(io.Discard, s)
	}, ch
}

func TestConnectionViolations(t *testing.T) {
	frame := func(kind http2.FrameType, flags http2.Flags, id uint32, payload ...byte) func(*raw) {
		return func(r *raw) { r.ok(r.WriteRawFrame(kind, flags, id, payload)) }
	}
	setting := func(id http2.SettingID, v uint32) func(*raw) {
		return func(r *raw) { r.ok(r.WriteSettings(http2.Setting{ID: id, Val: v})) }
	}
	const (
		protocol, size, flow = http2.ErrCodeProtocol, http2.ErrCodeFrameSize, http2.ErrCodeFlowControl
		calm, compression    = http2.ErrCodeEnhanceYourCalm, http2.ErrCodeCompression
	)
	for _, tt := range []struct {
		name string
		send func(*raw)
		want http2.ErrCode
	}{
		{"DATA on stream 0", frame(http2.FrameData, 0, 0, 'x'), protocol},
		{"DATA on an idle stream", frame(http2.FrameData, 0, 5, 'x'), protocol},
		{"DATA on an even stream", frame(http2.FrameData, 0, 2, 'x'), protocol},
		{"padding longer than DATA", func(r *raw) { r.connect(1); frame(http2.FrameData, http2.FlagDataPadded, 1, 2, 'x')(r) }, protocol},
		{"padded DATA without a pad length", func(r *raw) {
			r.connect(1)
			frame(http2.FrameData, http2.FlagDataPadded|http2.FlagDataEndStream, 1)(r)
		}, size},
		{"HEADERS on stream 0", func(r *raw) { r.headers(0, true, getLines()...) }, protocol},
		{"HEADERS on an even stream", func(r *raw) { r.headers(2, true, getLines()...) }, protocol},
		{"HEADERS on a closed stream", func(r *raw) {
			r.headers(1, true, getLines()...)
			r.until(func(f http2.Frame) bool { d, ok := f.(*http2.DataFrame); return ok && d.StreamEnded() })
			r.headers(1, true, getLines()...)
		}, http2.ErrCodeStreamClosed},
		{"HEADERS on a stream skipped", func(r *raw) { r.connect(5); r.connect(3) }, http2.ErrCodeStreamClosed},
		{"padding longer than HEADERS", frame(http2.FrameHeaders, http2.FlagHeadersPadded|http2.FlagHeadersEndHeaders, 1, 9, 0x82), protocol},
		{"HEADERS too short for priority", frame(http2.FrameHeaders, http2.FlagHeadersPriority|http2.FlagHeadersEndHeaders, 1, 0, 0), size},
		{"undecodable HEADERS", frame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, 0xff, 0xff, 0xff, 0xff, 0xff), compression},
		{"truncated header block", frame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, 0x40), compression},
		{"CONTINUATION alone", frame(http2.FrameContinuation, 0, 1, 0x82), protocol},
		{"interrupted header block", func(r *raw) {
			frame(http2.FrameHeaders, 0, 1, 0x82)(r)
			frame(http2.FramePing, 0, 0, make([]byte, 8)...)(r)
		}, protocol},
		{"CONTINUATION of another stream", func(r *raw) {
			frame(http2.FrameHeaders, 0, 1, 0x82)(r)
			frame(http2.FrameContinuation, 0, 3, 0x82)(r)
		}, protocol},
		{"unknown frame inside a header block", func(r *raw) { frame(http2.FrameHeaders, 0, 1, 0x82)(r); frame(0x0b, 0, 1, 1)(r) }, protocol},
		{"PUSH_PROMISE", frame(http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, 1, 0, 0, 0, 2, 0x82), protocol},
		{"PRIORITY on stream 0", frame(http2.FramePriority, 0, 0, 0, 0, 0, 1, 1), protocol},
		{"RST_STREAM on stream 0", frame(http2.FrameRSTStream, 0, 0, 0, 0, 0, 8), protocol},
		{"RST_STREAM on an idle stream", frame(http2.FrameRSTStream, 0, 7, 0, 0, 0, 8), protocol},
		{"RST_STREAM of 3 bytes", func(r *raw) { r.connect(1); frame(http2.FrameRSTStream, 0, 1, 0, 0, 0)(r) }, size},
		{"PING on a stream", frame(http2.FramePing, 0, 1, make([]byte, 8)...), protocol},
		{"PING of 7 bytes", frame(http2.FramePing, 0, 0, make([]byte, 7)...), size},
		{"GOAWAY on a stream", frame(http2.FrameGoAway, 0, 1, make([]byte, 8)...), protocol},
		{"GOAWAY of 7 bytes", frame(http2.FrameGoAway, 0, 0, make([]byte, 7)...), size},
		{"GOAWAY with a novel", frame(http2.FrameGoAway, 0, 0, make([]byte, 20_000)...), calm},
		{"WINDOW_UPDATE of 0", frame(http2.FrameWindowUpdate, 0, 0, 0, 0, 0, 0), protocol},
		{"WINDOW_UPDATE of 3 bytes", frame(http2.FrameWindowUpdate, 0, 0, 0, 0, 1), size},
		{"WINDOW_UPDATE on an idle stream", frame(http2.FrameWindowUpdate, 0, 9, 0, 0, 0, 1), protocol},
		{"connection window overflow", frame(http2.FrameWindowUpdate, 0, 0, 0x7f, 0xff, 0xff, 0xff), flow},
		{"SETTINGS on a stream", frame(http2.FrameSettings, 0, 1), protocol},
		{"SETTINGS of 5 bytes", frame(http2.FrameSettings, 0, 0, make([]byte, 5)...), size},
		{"SETTINGS ack with a payload", frame(http2.FrameSettings, http2.FlagSettingsAck, 0, make([]byte, 6)...), size},
		{"a thousand settings", frame(http2.FrameSettings, 0, 0, make([]byte, 6000)...), calm},
		{"ENABLE_PUSH of 2", setting(http2.SettingEnablePush, 2), protocol},
		{"INITIAL_WINDOW_SIZE of 2^31", setting(http2.SettingInitialWindowSize, 1<<31), flow},
		{"MAX_FRAME_SIZE of 16383", setting(http2.SettingMaxFrameSize, 16383), protocol},
		{"MAX_FRAME_SIZE of 2^24", setting(http2.SettingMaxFrameSize, 1<<24), protocol},
		{"ENABLE_CONNECT_PROTOCOL of 2", setting(http2.SettingEnableConnectProtocol, 2), protocol},
		{"a stream window overflowing by SETTINGS", func(r *raw) {
			r.connect(1)
			r.ok(r.WriteWindowUpdate(1, 1<<31-1-65535))
			setting(http2.SettingInitialWindowSize, 65536)(r)
		}, flow},
		{"a frame too large", func(r *raw) {
			r.connect(1)
			r.bytes(append(binary.BigEndian.AppendUint32(nil, (256<<10+1)<<8), 0, 0, 0, 0, 1))
		}, size},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, wait := rawClient(t, h2.Config{}, echo)
			tt.send(r)
			r.wantGoAway(tt.want)
			r.wantEnd()
			_ = r.nc.Close()
			if got := connErrorCode(t, wait()); got != tt.want {
				t.Errorf("ServeConn said %v", got)
			}
		})
	}
}

func TestConnectionWindowIsEnforced(t *testing.T) {
	h, _ := handOver(t)
	r, _ := rawClient(t, h2.Config{StreamWindow: 1 << 20, ConnWindow: 1 << 17}, h)
	// Never reading what the server credits would hide the violation: the
	// frame itself is larger than the window can ever be.
	r.connect(1)
	r.ok(r.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 1<<17+1)))
	r.wantGoAway(http2.ErrCodeFlowControl)
}

func TestMalformedRequestsResetTheStream(t *testing.T) {
	long := strings.Repeat("x", 1000)
	many := func(n int, line string) []string {
		var l []string
		for range n {
			l = append(l, line)
		}
		return getLines(l...)
	}
	const protocol, calm = http2.ErrCodeProtocol, http2.ErrCodeEnhanceYourCalm
	for _, tt := range []struct {
		name  string
		lines []string
		want  http2.ErrCode
	}{
		{"upper case name", getLines("X-Y: 1"), protocol},
		{"name with a space", getLines("x y: 1"), protocol},
		{"empty name", getLines("\x00: 1"), protocol},
		{"value with CR LF", getLines("x: 1\r\ny: 2"), protocol},
		{"value with NUL", getLines("x: 1\x00"), protocol},
		{"value with space around", getLines("x:  1 "), protocol},
		{"connection", getLines("connection: close"), protocol},
		{"proxy-connection", getLines("proxy-connection: close"), protocol},
		{"keep-alive", getLines("keep-alive: 1"), protocol},
		{"transfer-encoding", getLines("transfer-encoding: chunked"), protocol},
		{"upgrade", getLines("upgrade: websocket"), protocol},
		{"te", getLines("te: gzip"), protocol},
		{"pseudo-header after a field", append(getLines("x: 1"), ":path: /"), protocol},
		{"pseudo-header twice", getLines(":path: /b"), protocol},
		{"unknown pseudo-header", getLines(":extra: 1"), protocol},
		{"response pseudo-header", getLines(":status: 200"), protocol},
		{"no method", []string{":scheme: https", ":path: /", ":authority: a"}, protocol},
		{"method with a space", []string{":method: GET /", ":scheme: https", ":path: /", ":authority: a"}, protocol},
		{"no scheme", []string{":method: GET", ":path: /", ":authority: a"}, protocol},
		{"no path", []string{":method: GET", ":scheme: https", ":authority: a"}, protocol},
		{"empty path", []string{":method: GET", ":scheme: https", ":path:", ":authority: a"}, protocol},
		{"path with a space", []string{":method: GET", ":scheme: https", ":path: / HTTP/1.1", ":authority: a"}, protocol},
		{"authority with user information", []string{":method: GET", ":scheme: https", ":path: /", ":authority: u@a"}, protocol},
		{"host differs", getLines("host: other"), protocol},
		{"two hosts", []string{":method: GET", ":scheme: https", ":path: /", "host: a", "host: a"}, protocol},
		{"CONNECT with path", []string{":method: CONNECT", ":path: /", ":authority: a:1"}, protocol},
		{"CONNECT with scheme", []string{":method: CONNECT", ":scheme: https", ":authority: a:1"}, protocol},
		{"CONNECT without authority", []string{":method: CONNECT"}, protocol},
		{"CONNECT with host for authority", []string{":method: CONNECT", "host: a:1"}, protocol},
		{"CONNECT with another host", []string{":method: CONNECT", ":authority: a:1", "host: b:1"}, protocol},
		{"extended CONNECT not offered", []string{":method: CONNECT", ":protocol: websocket", ":scheme: https", ":path: /", ":authority: a"}, protocol},
		{"protocol without CONNECT", getLines(":protocol: websocket"), protocol},
		{"content-length is not a number", getLines("content-length: 1x"), protocol},
		{"content-length is signed", getLines("content-length: +0"), protocol},
		{"content-lengths differ", getLines("content-length: 0", "content-length: 1"), protocol},
		{"content-length without DATA", getLines("content-length: 1"), protocol},
		{"101 fields", many(97, "x: 1"), calm},
		{"60 KiB of fields", many(60, "x: "+long), calm},
		// Cookies and hosts that are merged or dropped later count all the same.
		{"CVE-2026-47774 cookie crumbs by number", many(97, "cookie: a=1"), calm},
		{"CVE-2026-47774 cookie crumbs by size", many(60, "cookie: a="+long), calm},
		{"CVE-2026-73550 duplicate hosts", many(97, "host: example.com"), calm},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, seen := requests()
			r, _ := rawClient(t, h2.Config{}, h)
			r.headers(1, true, tt.lines...)
			r.wantReset(1, tt.want)
			// The connection, and its HPACK state, are in order.
			r.headers(3, true, getLines("x-after: "+long)...)
			if got := r.head(3)[":status"]; got != "204" {
				t.Errorf("status %q", got)
			}
			if req := next(t, seen); req.Header.Get("x-after") != long {
				t.Errorf("served %+v", req)
			}
		})
	}
}

func TestRequestsAsTheHandlerSeesThem(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
		want  codec.Request
	}{
		{"order, duplicates, te", getLines("b: 1", "a: 2", "b: 3", "te: trailers"), codec.Request{
			Method: "GET", Scheme: "https", Path: "/", HasPath: true, Authority: "example.com", EndStream: true,
			Header: codec.Fields{{Name: "b", Value: "1"}, {Name: "a", Value: "2"}, {Name: "b", Value: "3"}, {Name: "te", Value: "trailers"}},
		}},
		{"cookie crumbs are joined", getLines("cookie: a=1", "x: 1", "cookie: b=2"), codec.Request{
			Method: "GET", Scheme: "https", Path: "/", HasPath: true, Authority: "example.com", EndStream: true,
			Header: codec.Fields{{Name: "x", Value: "1"}, {Name: "cookie", Value: "a=1; b=2"}},
		}},
		{"host for authority", []string{":method: GET", ":scheme: http", ":path: *", "host: a:8"}, codec.Request{
			Method: "GET", Scheme: "http", Path: "*", HasPath: true, Authority: "a:8", EndStream: true,
		}},
		{"host equal to authority", getLines("host: EXAMPLE.com"), codec.Request{
			Method: "GET", Scheme: "https", Path: "/", HasPath: true, Authority: "example.com", EndStream: true,
		}},
		{"CONNECT", []string{":method: CONNECT", ":authority: a:1"}, codec.Request{
			Method: "CONNECT", Authority: "a:1", EndStream: true,
		}},
		{"CONNECT with an empty path is for the routes to refuse", []string{":method: CONNECT", ":path:", ":authority: a:1"}, codec.Request{
			Method: "CONNECT", Authority: "a:1", HasPath: true, EndStream: true,
		}},
		{"extended CONNECT", []string{":method: CONNECT", ":protocol: websocket", ":scheme: https", ":path: /x?y", ":authority: a"}, codec.Request{
			Method: "CONNECT", Protocol: "websocket", Scheme: "https", Path: "/x?y", HasPath: true, Authority: "a", EndStream: true,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, seen := requests()
			r, _ := rawClient(t, h2.Config{AllowConnect: true}, h)
			r.headers(1, true, tt.lines...)
			got := next(t, seen)
			tt.want.Proto = codec.HTTP2
			if len(got.Header) == 0 {
				got.Header = nil
			}
			if d := cmp.Diff(tt.want, *got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestExtendedConnectIsOfferedWhenAllowed(t *testing.T) {
	for _, allow := range []bool{false, true} {
		r, _ := rawClient(t, h2.Config{AllowConnect: allow}, echo)
		f := r.until(func(f http2.Frame) bool { _, ok := f.(*http2.SettingsFrame); return ok }).(*http2.SettingsFrame)
		if v, ok := f.Value(http2.SettingEnableConnectProtocol); ok != allow || (allow && v != 1) {
			t.Errorf("AllowConnect %v: setting %d, %v", allow, v, ok)
		}
		if v, _ := f.Value(http2.SettingMaxConcurrentStreams); v != 1024 {
			t.Errorf("MAX_CONCURRENT_STREAMS = %d", v)
		}
	}
}

func TestStreamViolations(t *testing.T) {
	post := []string{":method: POST", ":scheme: https", ":path: /", ":authority: a"}
	const protocol = http2.ErrCodeProtocol
	for _, tt := range []struct {
		name string
		send func(*raw)
		want http2.ErrCode
	}{
		{"CVE-2026-73513 trailers without END_STREAM", func(r *raw) { r.headers(1, false, post...); r.headers(1, false, "x: 1") }, protocol},
		{"pseudo-header in trailers", func(r *raw) { r.headers(1, false, post...); r.headers(1, true, ":path: /") }, protocol},
		{"malformed trailers", func(r *raw) { r.headers(1, false, post...); r.headers(1, true, "X: 1") }, protocol},
		{"DATA after END_STREAM", func(r *raw) {
			r.headers(1, true, post...)
			r.ok(r.WriteData(1, false, []byte("x")))
		}, http2.ErrCodeStreamClosed},
		{"HEADERS after END_STREAM", func(r *raw) { r.headers(1, true, post...); r.headers(1, true, "x: 1") }, http2.ErrCodeStreamClosed},
		{"more DATA than content-length", func(r *raw) {
			r.headers(1, false, append(post, "content-length: 2")...)
			r.ok(r.WriteData(1, false, []byte("xyz")))
		}, protocol},
		{"CVE-2026-48743 less DATA than content-length", func(r *raw) {
			r.headers(1, false, append(post, "content-length: 4")...)
			r.ok(r.WriteData(1, true, []byte("xyz")))
		}, protocol},
		{"trailers before all of content-length", func(r *raw) {
			r.headers(1, false, append(post, "content-length: 4")...)
			r.headers(1, true, "x: 1")
		}, protocol},
		{"WINDOW_UPDATE of 0", func(r *raw) {
			r.headers(1, false, post...)
			r.ok(r.WriteRawFrame(http2.FrameWindowUpdate, 0, 1, make([]byte, 4)))
		}, protocol},
		{"stream window overflow", func(r *raw) { r.headers(1, false, post...); r.ok(r.WriteWindowUpdate(1, 1<<31-1)) }, http2.ErrCodeFlowControl},
		{"DATA beyond the stream window", func(r *raw) {
			r.headers(1, false, post...)
			for range 65 { // 1 MiB of window
				r.ok(r.WriteData(1, false, make([]byte, 16<<10)))
			}
		}, http2.ErrCodeFlowControl},
		{"PRIORITY of 4 bytes", func(r *raw) {
			r.headers(1, false, post...)
			r.ok(r.WriteRawFrame(http2.FramePriority, 0, 1, make([]byte, 4)))
		}, http2.ErrCodeFrameSize},
		{"PRIORITY on itself", func(r *raw) {
			r.headers(1, false, post...)
			r.ok(r.WritePriority(1, http2.PriorityParam{StreamDep: 1}))
		}, protocol},
		{"HEADERS depending on itself", func(r *raw) {
			r.ok(r.WriteHeaders(http2.HeadersFrameParam{
				StreamID: 1, BlockFragment: r.block(post...), EndHeaders: true, Priority: http2.PriorityParam{StreamDep: 1},
			}))
		}, protocol},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, _ := handOver(t)
			r, _ := rawClient(t, h2.Config{}, h)
			tt.send(r)
			r.wantReset(1, tt.want)
			r.alive()
		})
	}
}

func TestCVE_2026_27141_UnknownFramesAreIgnored(t *testing.T) {
	r, _ := rawClient(t, h2.Config{}, echo)
	for kind := http2.FrameType(0x0a); kind <= 0x20; kind++ {
		r.ok(r.WriteRawFrame(kind, 0xff, uint32(kind)%3, random(1, int(kind))))
	}
	r.ok(r.WriteSettings(http2.Setting{ID: 0x99, Val: 7}))
	r.alive()
}

func TestNotHTTP2IsRefused(t *testing.T) {
	for name, first := range map[string]string{
		"HTTP/1.1":      "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"no SETTINGS":   http2.ClientPreface + "\x00\x00\x08\x06\x00\x00\x00\x00\x00abcdefgh",
		"SETTINGS ack":  http2.ClientPreface + "\x00\x00\x00\x04\x01\x00\x00\x00\x00",
		"wrong preface": strings.ToLower(http2.ClientPreface),
	} {
		t.Run(name, func(t *testing.T) {
			a, b := socketPair(t)
			wait := server(t, context.Background(), b, h2.Config{}, echo)
			r := newRaw(t, a)
			r.bytes([]byte(first))
			r.wantGoAway(http2.ErrCodeProtocol)
			_ = a.Close()
			if got := connErrorCode(t, wait()); got != http2.ErrCodeProtocol {
				t.Errorf("ServeConn said %v", got)
			}
		})
	}
}

func TestStreamsBeyondTheLimitAreRefused(t *testing.T) {
	h, streams := handOver(t)
	cs, stats := newCounts()
	r, _ := rawClient(t, h2.Config{MaxConcurrentStreams: 2, Stats: stats}, h)
	r.connect(1)
	r.connect(3)
	first := next(t, streams)
	next(t, streams)
	r.connect(5)
	r.wantReset(5, http2.ErrCodeRefusedStream)
	close(first.done)
	r.wantReset(uint32(first.ID()), http2.ErrCodeInternal) // returned with both directions open
	r.connect(7)
	next(t, streams)
	cs.reaches(t, "streams_active", 2)
}

func TestHandlerReturnsEarly(t *testing.T) {
	for _, tt := range []struct {
		name, method string
		handler      codec.ServerHandler
		want         http2.ErrCode
	}{
		{"without an answer", "POST", func(context.Context, codec.ServerStream) {}, http2.ErrCodeInternal},
		{"after a full answer", "POST", func(_ context.Context, s codec.ServerStream) {
			_ = s.WriteResponse(&codec.Response{Status: 403, EndStream: true})
		}, http2.ErrCodeNo},
		{"closing after a full answer", "POST", func(_ context.Context, s codec.ServerStream) {
			_ = s.WriteResponse(&codec.Response{Status: 403, EndStream: true})
			_ = s.Close()
		}, http2.ErrCodeNo},
		{"in the middle of an answer", "POST", func(_ context.Context, s codec.ServerStream) {
			_ = s.WriteResponse(&codec.Response{Status: 200})
		}, http2.ErrCodeInternal},
		{"closing a tunnel half way", "CONNECT", func(_ context.Context, s codec.ServerStream) {
			_ = s.WriteResponse(&codec.Response{Status: 200, EndStream: true})
			_ = s.Close()
		}, http2.ErrCodeCancel},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := rawClient(t, h2.Config{}, tt.handler)
			if tt.method == "CONNECT" {
				r.connect(1)
			} else {
				r.headers(1, false, ":method: POST", ":scheme: https", ":path: /", ":authority: a")
			}
			r.wantReset(1, tt.want)
			// What was under way when it was reset is no violation.
			r.ok(r.WriteData(1, false, make([]byte, 1000)))
			r.headers(1, true, "x: 1")
			r.alive()
		})
	}
}

func TestHeadsInOrder(t *testing.T) {
	done := make(chan struct{})
	r, _ := rawClient(t, h2.Config{}, func(_ context.Context, s codec.ServerStream) {
		defer close(done)
		if _, err := s.Write([]byte("x")); err == nil {
			t.Error("DATA before the head was taken")
		}
		if err := s.CloseWrite(); err == nil {
			t.Error("END_STREAM before the head was taken")
		}
		for _, status := range []int{100, 103} {
			if err := s.WriteResponse(&codec.Response{Status: status, EndStream: true}); err != nil {
				t.Error(err)
			}
		}
		if err := s.WriteResponse(&codec.Response{Status: 101}); err == nil {
			t.Error("101 was taken")
		}
		if err := s.WriteResponse(&codec.Response{Status: 200, Header: codec.Fields{{Name: "x", Value: "a\r\nb"}}}); err == nil {
			t.Error("a value with a line break was taken")
		}
		res := &codec.Response{Status: 200, Header: codec.Fields{
			{Name: "X-Y", Value: "1"}, {Name: "Connection", Value: "close"}, {Name: "Transfer-Encoding", Value: "chunked"},
		}}
		if err := s.WriteResponse(res); err != nil {
			t.Error(err)
		}
		if err := s.WriteResponse(res); err == nil {
			t.Error("a second final head was taken")
		}
		_ = s.CloseWrite()
	})
	r.headers(1, true, getLines()...)
	for _, want := range []map[string]string{
		{":status": "100"}, {":status": "103"}, {":status": "200", "x-y": "1"},
	} {
		if got := r.head(1); !cmp.Equal(got, want) {
			t.Errorf("head %v, want %v", got, want)
		}
	}
	<-done
}
