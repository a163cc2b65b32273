package h2_test

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/codectest"
	"culvert/proxy/codec/h2"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// conversation is valid frames to start from.
func conversation(client bool) []byte {
	var buf, block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	fields := func(f ...string) []byte {
		block.Reset()
		for i := 0; i < len(f); i += 2 {
			_ = enc.WriteField(hpack.HeaderField{Name: f[i], Value: f[i+1]})
		}
		return block.Bytes()
	}
	fr := http2.NewFramer(&buf, nil)
	if client {
		buf.WriteString(http2.ClientPreface)
	}
	_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	_ = fr.WriteSettingsAck()
	head := fields(":status", "200", "x", "y")
	if client {
		head = fields(":method", "POST", ":scheme", "https", ":path", "/", ":authority", "a", "content-length", "6", "cookie", "a=1")
	}
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head[:3]})
	_ = fr.WriteContinuation(1, true, head[3:])
	_ = fr.WriteData(1, false, []byte("abc"))
	_ = fr.WriteDataPadded(1, false, []byte("def"), make([]byte, 4))
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fields("x-sum", "1"), EndHeaders: true, EndStream: true})
	if client {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: fields(":method", "CONNECT", ":authority", "a:1"), EndHeaders: true})
		_ = fr.WriteData(3, false, bytes.Repeat([]byte("x"), 10_000))
	}
	_ = fr.WritePing(false, [8]byte{1})
	_ = fr.WriteWindowUpdate(0, 100)
	_ = fr.WritePriority(3, http2.PriorityParam{StreamDep: 1})
	_ = fr.WriteRSTStream(3, http2.ErrCodeCancel)
	_ = fr.WriteGoAway(0, http2.ErrCodeNo, []byte("bye"))
	return buf.Bytes()
}

// prefixes seeds with the beginnings of a conversation.
func prefixes(f *testing.F, whole []byte) {
	for n := 0; n <= len(whole); n += 7 {
		f.Add(whole[:n])
	}
	f.Add(whole)
}

// within runs fn, which must end.
func within(t *testing.T, fn func()) {
	done := make(chan struct{})
	go func() { defer close(done); fn() }() // ends with fn
	select {
	case <-done:
	case <-time.After(testTime):
		t.Fatal("it does not end")
	}
}

func FuzzServer(f *testing.F) {
	prefixes(f, conversation(true))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, b := codectest.Pair()
		go func() { _, _ = io.Copy(io.Discard, a) }() // ends with the connection
		go func() {                                   // ends with the input
			_, _ = a.Write(in)
			_ = a.CloseWrite()
		}()
		within(t, func() {
			_ = h2.ServeConn(context.Background(), b, h2.Config{AllowConnect: true}, func(_ context.Context, s codec.ServerStream) {
				if codec.ValidName(s.Request().Method) == false || (s.Request().Method == "CONNECT" && s.Request().Authority == "") {
					t.Errorf("served %+v", s.Request())
				}
				for _, h := range s.Request().Header {
					if !codec.ValidName(h.Name) || !codec.ValidValue(h.Value) {
						t.Errorf("served field %q: %q", h.Name, h.Value)
					}
				}
				echo(context.Background(), s)
			})
		})
		_ = a.Close()
	})
}

func FuzzClient(f *testing.F) {
	prefixes(f, conversation(false))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, b := codectest.Pair()
		cc := h2.NewClientConn(a, h2.Config{})
		go func() { _, _ = io.Copy(io.Discard, b) }() // ends with the connection
		within(t, func() {
			st, err := cc.OpenStream(context.Background(), connectTo("a:1"))
			if err != nil {
				t.Fatal(err)
			}
			go func() { // ends with the input
				_, _ = b.Write(in)
				_ = b.CloseWrite()
			}()
			go func() { // ends with the connection
				for {
					res, err := st.ReadResponse(context.Background())
					if err != nil {
						break
					}
					if res.Status < 100 || res.Status > 999 || res.Status == 101 {
						t.Errorf("status %d", res.Status)
					}
				}
				_, _ = io.Copy(io.Discard, st)
				_ = st.Close()
			}()
			_ = cc.Run(context.Background())
		})
		_ = b.Close()
	})
}

// FuzzHeaderBlock compares with the HTTP/2 of x/net: what we serve, it decodes
// to the same fields.
func FuzzHeaderBlock(f *testing.F) {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, h := range []hpack.HeaderField{
		{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":path", Value: "/x"},
		{Name: ":authority", Value: "a"}, {Name: "x-y", Value: "z"}, {Name: "cookie", Value: "a=1"}, {Name: "te", Value: "trailers"},
	} {
		_ = enc.WriteField(h)
	}
	for n := range block.Len() + 1 {
		f.Add(block.Bytes()[:n])
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 16<<10 {
			return
		}
		var seen *codec.Request
		a, b := codectest.Pair()
		go func() { _, _ = io.Copy(io.Discard, a) }() // ends with the connection
		_, _ = io.WriteString(a, http2.ClientPreface)
		fr := http2.NewFramer(a, nil)
		_ = fr.WriteSettings()
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: in, EndHeaders: true, EndStream: true})
		_ = a.CloseWrite()
		within(t, func() {
			_ = h2.ServeConn(context.Background(), b, h2.Config{}, func(_ context.Context, s codec.ServerStream) { seen = s.Request() })
		})
		_ = a.Close()
		if seen == nil {
			return
		}
		want, err := hpack.NewDecoder(4096, nil).DecodeFull(in)
		if err != nil {
			t.Fatalf("served what does not decode: %v", err)
		}
		plain := map[string]int{}
		for _, h := range want {
			if h.Name[0] != ':' && h.Name != "cookie" && h.Name != "host" {
				plain[h.Name+": "+h.Value]++
			}
		}
		for _, h := range seen.Header {
			if h.Name != "cookie" {
				plain[h.Name+": "+h.Value]--
			}
		}
		for line, n := range plain {
			if n != 0 {
				t.Errorf("field %q: %+d", line, n)
			}
		}
	})
}
