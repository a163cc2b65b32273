package h2_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func get() *codec.Request {
	return &codec.Request{Method: "GET", Scheme: "https", Path: "/", Authority: "a", EndStream: true}
}

// fetch opens a GET and returns the stream.
func fetch(t testing.TB, cc *h2.ClientConn) codec.ClientStream {
	t.Helper()
	st, err := cc.OpenStream(context.Background(), get())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

func TestClientGreets(t *testing.T) {
	a, b := socketPair(t)
	client(t, a, h2.Config{})
	r := newRaw(t, b)
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(b, preface); err != nil || string(preface) != http2.ClientPreface {
		t.Fatalf("preface %q, %v", preface, err)
	}
	s := r.until(func(http2.Frame) bool { return true }).(*http2.SettingsFrame)
	for id, want := range map[http2.SettingID]uint32{
		http2.SettingEnablePush: 0, http2.SettingInitialWindowSize: 1 << 20,
		http2.SettingMaxFrameSize: 256 << 10, http2.SettingMaxHeaderListSize: 60 << 10,
	} {
		if v, ok := s.Value(id); !ok || v != want {
			t.Errorf("%v = %d, %v; want %d", id, v, ok, want)
		}
	}
	w := r.until(func(http2.Frame) bool { return true }).(*http2.WindowUpdateFrame)
	if w.StreamID != 0 || w.Increment != 16<<20-65535 {
		t.Errorf("got %v", w)
	}
}

func TestRequestHeadsOnTheWire(t *testing.T) {
	r, cc := rawServer(t, h2.Config{}, http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1})
	for _, tt := range []struct {
		name string
		req  codec.Request
		want map[string]string
	}{
		{"GET", codec.Request{Method: "GET", Scheme: "https", Path: "/x?y", Authority: "a", EndStream: true, Header: codec.Fields{
			{Name: "X-Case", Value: "1"}, {Name: "Host", Value: "other"}, {Name: "Connection", Value: "close"},
			{Name: "Upgrade", Value: "h2c"}, {Name: "TE", Value: "gzip"},
		}}, map[string]string{":method": "GET", ":scheme": "https", ":path": "/x?y", ":authority": "a", "x-case": "1"}},
		{"CONNECT has no path and no scheme", codec.Request{Method: "CONNECT", Scheme: "https", Path: "/", Authority: "a:1"},
			map[string]string{":method": "CONNECT", ":authority": "a:1"}},
		{"extended CONNECT", codec.Request{Method: "CONNECT", Protocol: "websocket", Scheme: "https", Path: "/", Authority: "a"},
			map[string]string{":method": "CONNECT", ":protocol": "websocket", ":scheme": "https", ":path": "/", ":authority": "a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st, err := cc.OpenStream(context.Background(), &tt.req)
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			if d := cmp.Diff(tt.want, r.head(uint32(st.ID()))); d != "" {
				t.Error(d)
			}
		})
	}
	for name, req := range map[string]*codec.Request{
		"line break in a value":  {Method: "GET", Scheme: "https", Path: "/", Header: codec.Fields{{Name: "a", Value: "1\r\nb: 2"}}},
		"line break in the path": {Method: "GET", Scheme: "https", Path: "/\r\nx"},
		"colon in a name":        {Method: "GET", Scheme: "https", Path: "/", Header: codec.Fields{{Name: ":path", Value: "/x"}}},
		"space in the method":    {Method: "GET /", Scheme: "https", Path: "/"},
	} {
		if st, err := cc.OpenStream(context.Background(), req); err == nil {
			t.Errorf("%s: taken", name)
			_ = st.Close()
		}
	}
	if n := cc.ActiveStreams(); n != 0 {
		t.Errorf("%d streams are left", n)
	}
}

// Credentials never enter a table (RFC 7541 §7.1.3).
func TestCredentialsAreNeverIndexed(t *testing.T) {
	r, cc := rawServer(t, h2.Config{})
	req := get()
	for _, name := range []string{"Authorization", "Proxy-Authorization", "Cookie", "X-Other"} {
		req.Header.Add(name, "secret")
	}
	if _, err := cc.OpenStream(context.Background(), req); err != nil {
		t.Fatal(err)
	}
	f := r.until(func(f http2.Frame) bool { _, ok := f.(*http2.HeadersFrame); return ok }).(*http2.HeadersFrame)
	fields, err := hpack.NewDecoder(4096, nil).DecodeFull(f.HeaderBlockFragment())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		if want := f.Value == "secret" && f.Name != "x-other"; f.Sensitive != want {
			t.Errorf("%s: never indexed %v", f.Name, f.Sensitive)
		}
	}
}

func TestResponseViolations(t *testing.T) {
	const protocol, calm = http2.ErrCodeProtocol, http2.ErrCodeEnhanceYourCalm
	var seventeen []string
	for range 17 {
		seventeen = append(seventeen, ":status: 103")
	}
	heads := func(end bool, lines ...string) func(*raw) {
		return func(r *raw) { r.headers(1, end, lines...) }
	}
	for _, tt := range []struct {
		name string
		send func(*raw)
		want http2.ErrCode
	}{
		{"no status", heads(true, "x: 1"), protocol},
		{"status of two digits", heads(true, ":status: 20"), protocol},
		{"status in words", heads(true, ":status: abc"), protocol},
		{"status of five digits", heads(true, ":status: 20000"), protocol},
		{"FB53 101", heads(false, ":status: 101"), protocol},
		{"request pseudo-header", heads(true, ":status: 200", ":path: /"), protocol},
		{"upper case name", heads(true, ":status: 200", "X: 1"), protocol},
		{"connection", heads(true, ":status: 200", "connection: close"), protocol},
		{"informational head at the end", heads(true, ":status: 103"), protocol},
		{"seventeen informational heads", func(r *raw) {
			for _, l := range seventeen {
				r.headers(1, false, l)
			}
		}, calm},
		{"DATA before the head", func(r *raw) { r.ok(r.WriteData(1, false, []byte("x"))) }, protocol},
		{"DATA after an informational head", func(r *raw) { r.headers(1, false, ":status: 103"); r.ok(r.WriteData(1, false, []byte("x"))) }, protocol},
		{"second final head", func(r *raw) { r.headers(1, false, ":status: 200"); r.headers(1, false, ":status: 200") }, protocol},
		{"content-length that is not", heads(true, ":status: 200", "content-length: 5"), protocol},
		{"content-length in words", heads(false, ":status: 200", "content-length: five"), protocol},
		{"too much DATA", func(r *raw) {
			r.headers(1, false, ":status: 200", "content-length: 1")
			r.ok(r.WriteData(1, true, []byte("xy")))
		}, protocol},
		{"60 KiB of fields", heads(true, append([]string{":status: 200"}, strings.Split(strings.Repeat("x: "+strings.Repeat("y", 1000)+"\n", 60), "\n")[:60]...)...), calm},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, cc := rawServer(t, h2.Config{})
			st := fetch(t, cc)
			r.head(1)
			tt.send(r)
			r.wantReset(1, tt.want)
			_, err := st.ReadResponse(context.Background())
			var se *h2.StreamError
			if !errors.As(err, &se) || se.Code != tt.want {
				t.Errorf("got %v", err)
			}
			r.alive()
		})
	}
}

func TestContentLengthsThatSpeakOfNoBody(t *testing.T) {
	for name, tt := range map[string]struct{ method, status string }{
		"HEAD": {"HEAD", "200"}, "304": {"GET", "304"}, "CONNECT": {"CONNECT", "200"},
	} {
		t.Run(name, func(t *testing.T) {
			r, cc := rawServer(t, h2.Config{})
			req := get()
			req.Method, req.EndStream = tt.method, tt.method != "CONNECT"
			st, err := cc.OpenStream(context.Background(), req)
			if err != nil {
				t.Fatal(err)
			}
			r.head(1)
			r.headers(1, true, ":status: "+tt.status, "content-length: 5")
			if res, err := st.ReadResponse(context.Background()); err != nil || res.Header.Get("content-length") != "5" {
				t.Errorf("%+v, %v", res, err)
			}
			expectEOF(t, st)
			_ = st.Close()
		})
	}
}

func TestInformationalHeadsAndTrailers(t *testing.T) {
	r, cc := rawServer(t, h2.Config{})
	st := fetch(t, cc)
	r.head(1)
	r.headers(1, false, ":status: 103", "link: x")
	r.headers(1, false, ":status: 200")
	r.ok(r.WriteData(1, false, []byte("body")))
	r.headers(1, true, "x-sum: 1")
	for _, want := range []int{103, 200} {
		res, err := st.ReadResponse(context.Background())
		if err != nil || res.Status != want {
			t.Fatalf("%+v, %v; want %d", res, err, want)
		}
	}
	if st.Trailers() != nil {
		t.Error("trailers before the end")
	}
	expectRead(t, st, []byte("body"))
	expectEOF(t, st)
	if got := st.Trailers().Get("x-sum"); got != "1" {
		t.Errorf("trailer %q", got)
	}
	if _, err := st.ReadResponse(context.Background()); err == nil {
		t.Error("a third head")
	}
}

func TestWaitForTheHeadIsBoundedByItsContext(t *testing.T) {
	r, cc := rawServer(t, h2.Config{})
	st := fetch(t, cc)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := st.ReadResponse(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	r.headers(1, true, ":status: 204") // only the wait was over
	if res, err := st.ReadResponse(context.Background()); err != nil || res.Status != 204 {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestThePeersLimitOfStreams(t *testing.T) {
	r, cc := rawServer(t, h2.Config{}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
	if !cc.CanOpen() {
		t.Fatal("no room at the start")
	}
	st := fetch(t, cc)
	if cc.CanOpen() {
		t.Error("room beyond the limit")
	}
	_, err := cc.OpenStream(context.Background(), get())
	if err != h2.ErrNoCapacity || !errors.Is(err, codec.ErrNotProcessed) {
		t.Errorf("got %v", err)
	}
	r.headers(1, true, ":status: 204")
	if _, err := st.ReadResponse(context.Background()); err != nil {
		t.Fatal(err)
	}
	fetch(t, cc)
}

func TestRefusedStreamMayBeRetried(t *testing.T) {
	r, cc := rawServer(t, h2.Config{})
	st := fetch(t, cc)
	r.head(1)
	r.ok(r.WriteRSTStream(1, http2.ErrCodeRefusedStream))
	if _, err := st.ReadResponse(context.Background()); !errors.Is(err, codec.ErrNotProcessed) || codec.CodeFor(err) != codec.CodeRefused {
		t.Errorf("got %v", err)
	}
}

// GOAWAY in the middle of a tunnel.
func TestG17FB21GoAwayLetsStreamsFinish(t *testing.T) {
	a, b := socketPair(t)
	cc := h2.NewClientConn(a, h2.Config{})
	ended := make(chan error, 1)
	go func() { ended <- cc.Run(context.Background()) }() // ends with its last stream
	r := newRaw(t, b)
	_, _ = io.ReadFull(b, make([]byte, len(http2.ClientPreface)))
	r.ok(r.WriteSettings())
	first, err := cc.OpenStream(context.Background(), connectTo("a:1"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := cc.OpenStream(context.Background(), connectTo("b:1"))
	if err != nil {
		t.Fatal(err)
	}
	r.head(3)
	r.ok(r.WriteGoAway(1<<31-1, http2.ErrCodeNo, nil)) // the first of two phases
	r.ok(r.WriteGoAway(1, http2.ErrCodeNo, []byte("last")))
	if _, err := second.ReadResponse(context.Background()); !errors.Is(err, codec.ErrNotProcessed) || !network.IsReset(err) {
		t.Errorf("stream above the last: %v", err)
	}
	if cc.CanOpen() {
		t.Error("room after GOAWAY")
	}
	if _, err := cc.OpenStream(context.Background(), get()); !errors.Is(err, codec.ErrNotProcessed) {
		t.Errorf("OpenStream after GOAWAY: %v", err)
	}
	r.headers(1, false, ":status: 200")
	r.ok(r.WriteData(1, true, []byte("still here")))
	expectRead(t, first, []byte("still here"))
	expectEOF(t, first)
	write(t, first, []byte("so am I"))
	if got := string(r.data(1)); got != "so am I" {
		t.Errorf("got %q", got)
	}
	if err := first.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := next(t, ended); err != nil {
		t.Errorf("Run: %v", err)
	}
	<-cc.Done()
	_ = first.Close()
	_ = second.Close()
}

func TestGoAwayMustNotRaiseItsLastStream(t *testing.T) {
	r, cc := rawServer(t, h2.Config{})
	st := fetch(t, cc)
	r.ok(r.WriteGoAway(1, http2.ErrCodeNo, nil))
	r.ok(r.WriteGoAway(3, http2.ErrCodeNo, nil))
	r.wantGoAway(http2.ErrCodeProtocol)
	if _, err := st.ReadResponse(context.Background()); !network.IsReset(err) {
		t.Errorf("got %v", err)
	}
}

func TestExtendedConnectWaitsForSettings(t *testing.T) {
	ext := &codec.Request{Method: "CONNECT", Protocol: "websocket", Scheme: "https", Path: "/", Authority: "a"}
	for _, offered := range []bool{false, true} {
		a, b := socketPair(t)
		cc := client(t, a, h2.Config{})
		t.Cleanup(func() { _ = b.Close() })
		got := make(chan error, 1)
		go func() { // ends with the SETTINGS
			_, err := cc.OpenStream(context.Background(), ext)
			got <- err
		}()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		if _, err := cc.OpenStream(ctx, ext); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("before SETTINGS: %v", err)
		}
		cancel()
		r := newRaw(t, b)
		var settings []http2.Setting
		if offered {
			settings = []http2.Setting{{ID: http2.SettingEnableConnectProtocol, Val: 1}}
		}
		r.ok(r.WriteSettings(settings...))
		if err := next(t, got); offered != (err == nil) || (!offered && err != h2.ErrNoExtendedConnect) {
			t.Errorf("offered %v: %v", offered, err)
		}
	}
}

func TestServersThatBreakTheRules(t *testing.T) {
	for _, tt := range []struct {
		name string
		send func(*raw)
		want http2.ErrCode
	}{
		{"push promised", func(r *raw) {
			r.ok(r.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: r.block(getLines()...), EndHeaders: true}))
		}, http2.ErrCodeProtocol},
		{"push enabled", func(r *raw) { r.ok(r.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 1})) }, http2.ErrCodeProtocol},
		{"extended CONNECT taken back", func(r *raw) {
			r.ok(r.WriteSettings(http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1}))
			r.ok(r.WriteSettings(http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 0}))
		}, http2.ErrCodeProtocol},
		{"CVE-2026-33814 MAX_FRAME_SIZE of 0", func(r *raw) { r.ok(r.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 0})) }, http2.ErrCodeProtocol},
		{"HEADERS on a stream never opened", func(r *raw) { r.headers(3, true, ":status: 200") }, http2.ErrCodeProtocol},
		{"stream of the server's own", func(r *raw) { r.headers(2, true, ":status: 200") }, http2.ErrCodeProtocol},
		{"RST_STREAM on an idle stream", func(r *raw) { r.ok(r.WriteRSTStream(9, 0)) }, http2.ErrCodeProtocol},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, cc := rawServer(t, h2.Config{})
			st := fetch(t, cc)
			r.head(1)
			tt.send(r)
			r.wantGoAway(tt.want)
			if _, err := st.ReadResponse(context.Background()); !network.IsReset(err) {
				t.Errorf("stream: %v", err)
			}
		})
	}
}

func TestThePeersHeaderLimitIsKept(t *testing.T) {
	_, cc := rawServer(t, h2.Config{}, http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 1000})
	req := get()
	req.Header.Add("x", strings.Repeat("y", 1000))
	if _, err := cc.OpenStream(context.Background(), req); err == nil || errors.Is(err, codec.ErrNotProcessed) {
		t.Errorf("got %v", err)
	}
	fetch(t, cc) // the HPACK state is in order
}

func TestLongHeadsAreCut(t *testing.T) {
	h, seen := requests()
	cc := pair(t, h2.Config{}, h2.Config{}, h)
	req := get()
	for range 12 {
		req.Header.Add("x", string(random(1, 0))+strings.Repeat("~", 4000)) // "~" is long in Huffman code
	}
	st, err := cc.OpenStream(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if got := next(t, seen); !cmp.Equal(got.Header, req.Header) && len(got.Header) != 12 {
		t.Errorf("%d fields arrived", len(got.Header))
	}
	if _, err := st.ReadResponse(context.Background()); err != nil {
		t.Error(err)
	}
}
