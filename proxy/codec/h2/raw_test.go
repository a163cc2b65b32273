package h2_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// raw is a peer that speaks frames, and need not keep to any rule.
type raw struct {
	*http2.Framer
	t    testing.TB
	nc   net.Conn
	enc  *hpack.Encoder
	buf  bytes.Buffer
	dec  *hpack.Decoder
	last map[string]string // the last header list read
}

func newRaw(t testing.TB, nc net.Conn) *raw {
	_ = nc.SetDeadline(time.Now().Add(testTime))
	r := &raw{t: t, nc: nc}
	r.Framer = http2.NewFramer(nc, nc)
	r.Framer.AllowIllegalReads, r.Framer.AllowIllegalWrites = true, true
	r.Framer.SetMaxReadFrameSize(1 << 20)
	r.enc = hpack.NewEncoder(&r.buf)
	r.dec = hpack.NewDecoder(4096, func(f hpack.HeaderField) { r.last[f.Name] = f.Value })
	return r
}

// rawClient is a raw client of a server of ours, greeted; the function waits
// for the server's end.
func rawClient(t testing.TB, cfg h2.Config, h codec.ServerHandler) (*raw, func() error) {
	t.Helper()
	a, b := socketPair(t)
	wait := server(t, context.Background(), b, cfg, h)
	r := newRaw(t, a)
	r.bytes([]byte(http2.ClientPreface))
	r.ok(r.WriteSettings())
	r.ok(r.WriteSettingsAck())
	return r, wait
}

// rawServer is a raw server of a client of ours, which has been told settings.
func rawServer(t testing.TB, cfg h2.Config, settings ...http2.Setting) (*raw, *h2.ClientConn) {
	t.Helper()
	a, b := socketPair(t)
	cc := client(t, a, cfg)
	t.Cleanup(func() { _ = b.Close() }) // first, so that the client need not wait for us
	r := newRaw(t, b)
	r.ok(r.WriteSettings(settings...))
	r.ok(r.WriteSettingsAck())
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(b, preface); err != nil || string(preface) != http2.ClientPreface {
		t.Fatalf("preface %q, %v", preface, err)
	}
	r.until(func(f http2.Frame) bool { // our SETTINGS are known to the client
		s, ok := f.(*http2.SettingsFrame)
		return ok && s.IsAck()
	})
	return r, cc
}

func (r *raw) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("raw write: %v", err)
	}
}

func (r *raw) bytes(p []byte) {
	r.t.Helper()
	_, err := r.nc.Write(p)
	r.ok(err)
}

// block encodes "name: value" lines, pseudo-headers included.
func (r *raw) block(lines ...string) []byte {
	r.buf.Reset()
	for _, l := range lines {
		i := strings.Index(l[1:], ":") + 1
		_ = r.enc.WriteField(hpack.HeaderField{Name: l[:i], Value: strings.TrimPrefix(l[i+1:], " ")})
	}
	return r.buf.Bytes()
}

func (r *raw) headers(id uint32, endStream bool, lines ...string) {
	r.t.Helper()
	r.ok(r.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: r.block(lines...), EndStream: endStream, EndHeaders: true,
	}))
}

// connect opens a CONNECT stream, get a finished GET.
func (r *raw) connect(id uint32) {
	r.headers(id, false, ":method: CONNECT", ":authority: example.com:443")
}

func getLines(more ...string) []string {
	return append([]string{":method: GET", ":scheme: https", ":path: /", ":authority: example.com"}, more...)
}

// until reads frames up to the first that is what is wanted.
func (r *raw) until(wanted func(http2.Frame) bool) http2.Frame {
	r.t.Helper()
	for {
		f, err := r.ReadFrame()
		if err != nil {
			r.t.Fatalf("raw read: %v", err)
		}
		if h, ok := f.(*http2.HeadersFrame); ok {
			r.last = map[string]string{}
			if _, err := r.dec.Write(h.HeaderBlockFragment()); err != nil {
				r.t.Fatal(err)
			}
		}
		if wanted(f) {
			return f
		}
	}
}

// head reads up to the next header block and returns it.
func (r *raw) head(id uint32) map[string]string {
	r.t.Helper()
	r.until(func(f http2.Frame) bool {
		h, ok := f.(*http2.HeadersFrame)
		return ok && h.StreamID == id
	})
	return r.last
}

func (r *raw) data(id uint32) []byte {
	r.t.Helper()
	f := r.until(func(f http2.Frame) bool {
		d, ok := f.(*http2.DataFrame)
		return ok && d.StreamID == id
	})
	return bytes.Clone(f.(*http2.DataFrame).Data())
}

func (r *raw) wantReset(id uint32, code http2.ErrCode) {
	r.t.Helper()
	f := r.until(func(f http2.Frame) bool {
		if g, ok := f.(*http2.GoAwayFrame); ok {
			r.t.Fatalf("GOAWAY %v %q, want RST_STREAM %v", g.ErrCode, g.DebugData(), code)
		}
		rst, ok := f.(*http2.RSTStreamFrame)
		return ok && rst.StreamID == id
	})
	if got := f.(*http2.RSTStreamFrame).ErrCode; got != code {
		r.t.Fatalf("RST_STREAM %v, want %v", got, code)
	}
}

// wantGoAway reads up to a GOAWAY with that code and then the end.
func (r *raw) wantGoAway(code http2.ErrCode) *http2.GoAwayFrame {
	r.t.Helper()
	f := r.until(func(f http2.Frame) bool { _, ok := f.(*http2.GoAwayFrame); return ok }).(*http2.GoAwayFrame)
	if f.ErrCode != code {
		r.t.Fatalf("GOAWAY %v %q, want %v", f.ErrCode, f.DebugData(), code)
	}
	return f
}

func (r *raw) wantEnd() {
	r.t.Helper()
	for {
		if _, err := r.ReadFrame(); err != nil {
			if err != io.EOF && !network.IsReset(err) {
				r.t.Fatalf("connection ended with %v", err)
			}
			return
		}
	}
}

// alive proves that the connection still answers.
func (r *raw) alive() {
	r.t.Helper()
	r.ok(r.WritePing(false, [8]byte{'?'}))
	r.until(func(f http2.Frame) bool {
		p, ok := f.(*http2.PingFrame)
		return ok && p.IsAck() && p.Data == [8]byte{'?'}
	})
}

// connErrorCode is the code of the *h2.ConnError in err.
func connErrorCode(t testing.TB, err error) http2.ErrCode {
	t.Helper()
	var ce *h2.ConnError
	if !errors.As(err, &ce) {
		t.Fatalf("connection ended with %v", err)
	}
	return ce.Code
}

// counts are Stats a test can read.
type counts map[string]*count

type count struct{ n atomic.Int64 }

func (c *count) Inc()         { c.n.Add(1) }
func (c *count) Add(d uint64) { c.n.Add(int64(d)) }

// level is a count that also goes down.
type level struct{ *count }

func (l level) Add(d int64) { l.n.Add(d) }

func newCounts() (counts, *h2.Stats) {
	m := counts{}
	get := func(name string) *count { m[name] = new(count); return m[name] }
	return m, h2.NewStats(get, func(name string) level { return level{get(name)} })
}

func (c counts) get(name string) int64 { return c[name].n.Load() }

// reaches waits until a metric has its value: a peer may be told first.
func (c counts) reaches(t testing.TB, name string, want int64) {
	t.Helper()
	for deadline := time.Now().Add(testTime); c.get(name) != want && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if n := c.get(name); n != want {
		t.Errorf("%s = %d, want %d", name, n, want)
	}
}
