package hcm

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/httpfilter/streamtest"
	"culvert/proxy/network"
)

func TestPlainExchange(t *testing.T) {
	b := newBench(t, with(plainRoute, ""), upstream(func(s *streamtest.Server) {
		body, _ := io.ReadAll(s)
		_ = s.WriteResponse(&codec.Response{Status: 103})
		_ = s.WriteResponse(&codec.Response{Status: 200})
		mustWrite(t, s, strings.ToUpper(string(body)))
		_ = s.WriteTrailers(codec.Fields{{Name: "sum", Value: s.Trailers().Get("sum")}})
	}), nil)
	client := b.send(post("/x"))
	mustWrite(t, client, "body")
	_ = client.WriteTrailers(codec.Fields{{Name: "sum", Value: "7"}})
	if res := head(t, client); res.Status != 103 {
		t.Errorf("first head %d, want 103", res.Status)
	}
	if res := head(t, client); res.Status != 200 {
		t.Errorf("status %d", res.Status)
	}
	mustRead(t, client, "BODY")
	mustEnd(t, client)
	if got := client.Trailers().Get("sum"); got != "7" {
		t.Errorf("trailers %v", client.Trailers())
	}
	info := b.wait()
	if info.Meter.BytesReceived() != 4 || info.Meter.BytesSent() != 4 || info.ResponseCode != 200 || info.Cause != nil {
		t.Errorf("%d/%d bytes, %d, %v", info.Meter.BytesReceived(), info.Meter.BytesSent(), info.ResponseCode, info.Cause)
	}
	if b.stat("downstream_rq_2xx") != 1 || b.stat("downstream_rq_completed") != 1 || b.stat("downstream_rq_active") != 0 || b.stat("downstream_rq_total") != 1 {
		t.Error("the exchange is not counted")
	}
}

// An answer may come first; what is left of the request still goes through.
func TestUploadAfterAnswer(t *testing.T) {
	const upload = 1 << 20
	read := make(chan int64, 1)
	b := newBench(t, with(plainRoute, ""), upstream(func(s *streamtest.Server) {
		_ = s.WriteResponse(&codec.Response{Status: 200, EndStream: true})
		n, _ := io.Copy(io.Discard, s)
		read <- n
	}), nil)
	client := b.send(post("/x"))
	head(t, client)
	mustEnd(t, client)
	mustWrite(t, client, strings.Repeat("x", upload))
	_ = client.CloseWrite()
	if n := <-read; n != upload {
		t.Errorf("the upstream read %d bytes, want %d", n, upload)
	}
	b.wait()
}

// An upstream that answers and wants no more of the request says so by a reset
// without error (RFC 9113 §8.1), which is passed on.
func TestUpstreamWantsNoMore(t *testing.T) {
	b := newBench(t, with(plainRoute, ""), upstream(func(s *streamtest.Server) {
		_ = s.WriteResponse(&codec.Response{Status: 413, EndStream: true})
		s.Reset(codec.CodeNoError, nil)
	}), nil)
	client := b.send(post("/x"))
	if res := head(t, client); res.Status != 413 {
		t.Errorf("status %d", res.Status)
	}
	mustEnd(t, client)
	for {
		if _, err := client.Write(make([]byte, 1024)); err != nil {
			break
		}
	}
	if code, _ := client.ResetCode(); code != codec.CodeNoError {
		t.Errorf("reset with %v, want NO_ERROR", code)
	}
	if info := b.wait(); info.ResponseCode != 413 || info.Flags != 0 {
		t.Errorf("logged %d %v", info.ResponseCode, info.Flags)
	}
}

func TestUpstreamResetsMidResponse(t *testing.T) {
	b := newBench(t, with(plainRoute, ""), upstream(func(s *streamtest.Server) {
		_ = s.WriteResponse(&codec.Response{Status: 200})
		mustWrite(t, s, "half")
		for s.Buffered() == 0 { // until the client's byte says that it has read
			time.Sleep(time.Millisecond)
		}
		s.Reset(codec.CodeInternal, nil)
	}), nil)
	client := b.send(post("/x"))
	head(t, client)
	mustRead(t, client, "half")
	mustWrite(t, client, "!")
	mustReset(t, client)
	info := b.wait()
	if info.Flags != network.FlagUR || info.Details != "upstream_reset_after_response_started{remote_reset}" {
		t.Errorf("%v %q", info.Flags, info.Details)
	}
}

func TestClientResetsMidResponse(t *testing.T) {
	ended := make(chan error, 1)
	b := newBench(t, with(plainRoute, ""), upstream(func(s *streamtest.Server) {
		_ = s.WriteResponse(&codec.Response{Status: 200})
		for {
			if _, err := s.Write(make([]byte, 1024)); err != nil {
				ended <- err
				return
			}
		}
	}), nil)
	client := b.send(get("/x"))
	head(t, client)
	client.Reset(codec.CodeCancel, nil)
	if err := <-ended; !network.IsReset(err) {
		t.Errorf("the upstream saw %v, want a reset", err)
	}
	if info := b.wait(); info.Flags != network.FlagDC {
		t.Errorf("flags %v", info.Flags)
	}
}

func TestRouteTimeoutAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, with(`{match: {prefix: "/"}, route: {cluster: c, timeout: 2s}}`, ""),
			upstream(func(s *streamtest.Server) { _, _ = io.ReadAll(s) }), nil)
		res, body := b.ask(get("/"))
		info := b.wait()
		if res.Status != 504 || body != "upstream request timeout" || info.Flags != network.FlagUT || info.Details != "response_timeout" {
			t.Errorf("%d %q %v %q", res.Status, body, info.Flags, info.Details)
		}
	})
}

func TestRouteTimeoutAfterHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, with(plainRoute, ""), upstream(func(s *streamtest.Server) {
			_ = s.WriteResponse(&codec.Response{Status: 200})
			_, _ = io.ReadAll(s)
		}), nil)
		client := b.send(get("/"))
		head(t, client)
		mustReset(t, client)
		if info := b.wait(); info.Flags != network.FlagUT || info.Details != "response_timeout" || info.ResponseCode != 200 {
			t.Errorf("%v %q %d", info.Flags, info.Details, info.ResponseCode)
		}
	})
}

func TestStreamIdleTimeoutOfPlainExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, with(`{match: {prefix: "/"}, route: {cluster: c, timeout: 0s}}`, ""), upstream(func(s *streamtest.Server) {
			_ = s.WriteResponse(&codec.Response{Status: 200})
			time.Sleep(4 * time.Minute)
			_, _ = s.Write([]byte("x")) // activity
			_, _ = io.ReadAll(s)
		}), nil)
		client := b.send(post("/"))
		began := time.Now()
		head(t, client)
		mustRead(t, client, "x")
		mustReset(t, client)
		if d := time.Since(began); d != 9*time.Minute {
			t.Errorf("ended after %v, want 5 min after the last byte", d)
		}
		if info := b.wait(); info.Flags != network.FlagSI || info.Details != "stream_idle_timeout" {
			t.Errorf("%v %q", info.Flags, info.Details)
		}
	})
}

// A client that is still sending when it gets a local reply is told to stop.
func TestLocalReplyDuringUpload(t *testing.T) {
	c := fakeCluster{stream: func(*codec.Request) (codec.ClientStream, error) { return nil, errors.New("down") }}
	b := newBench(t, with(plainRoute, ""), c, nil)
	client := b.send(post("/"))
	res := head(t, client)
	body, err := io.ReadAll(client)
	if res.Status != 503 || err != nil || !strings.HasPrefix(string(body), "upstream connect error") {
		t.Errorf("%d %q %v", res.Status, body, err)
	}
	if res.Header.Get("content-type") != "text/plain" || res.Header.Get("content-length") == "" || !res.Header.Has("proxy-status") {
		t.Errorf("fields %v", res.Header)
	}
	b.wait()
	if code, reset := client.ResetCode(); !reset || code != codec.CodeNoError {
		t.Errorf("reset %v with %v, want NO_ERROR", reset, code)
	}
}

func TestHeadHasNoBody(t *testing.T) {
	b := newBench(t, with(directRoute, ""), nil, nil)
	req := get("/")
	req.Method = "HEAD"
	if res, body := b.ask(req); res.Status != 200 || body != "" || res.Header.Get("content-length") != "5" {
		t.Errorf("%d %q %v", res.Status, body, res.Header)
	}
	b.wait()
}

// The frames of the filters are gone before a byte of a body moves, and the
// last hook to be added runs first.
func TestFiltersUnwindBeforeTheBody(t *testing.T) {
	var order []string
	note := func(name string) codec.Filter {
		return filterFunc(func(ctx context.Context, x *codec.Exchange, next codec.RoundTripper) error {
			order = append(order, name+" in")
			x.OnEnd(func(codec.EndInfo) { order = append(order, name+" end") })
			err := next(ctx, x)
			order = append(order, name+" out")
			if name == "a" {
				x.ResponseBody = readerFunc(func(p []byte) (int, error) {
					order = append(order, "body")
					return 0, io.EOF
				})
			}
			return err
		})
	}
	text := strings.Replace(with(directRoute, ""), "[{name: router}]", "[{name: a}, {name: b}, {name: router}]", 1)
	b := newBench(t, text, nil, map[string]codec.Filter{"a": note("a"), "b": note("b")})
	b.ask(get("/"))
	b.wait()
	if got, want := strings.Join(order, ", "), "a in, b in, b out, a out, body, b end, a end"; got != want {
		t.Errorf("order: %s\nwant:  %s", got, want)
	}
}

type readerFunc func([]byte) (int, error)

func (fn readerFunc) Read(p []byte) (int, error) { return fn(p) }
