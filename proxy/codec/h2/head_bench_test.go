package h2

import (
	"bytes"
	"net"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// What a head costs by itself: HPACK, and what is checked of it. The tables are
// those of a connection that has carried such heads before.

// benchConn is a connection over which nothing goes.
func benchConn(b *testing.B, server bool) *conn {
	near, far := net.Pipe()
	b.Cleanup(func() { near.Close(); far.Close() })
	c := newConn(noReset{near}, Config{}, server)
	b.Cleanup(func() { c.endBase(nil) })
	return c
}

// noReset is a pipe as a Conn.
type noReset struct{ net.Conn }

func (c noReset) CloseWrite() error { return c.Close() }
func (c noReset) Abort(error)       { _ = c.Close() }

var _ network.Conn = noReset{}

func benchRequests() map[string]*codec.Request {
	browser := &codec.Request{Method: "GET", Scheme: "https", Authority: "www.example.com", Path: "/path/to/a/thing?with=a&query=1"}
	for _, f := range [][2]string{
		{"user-agent", "Mozilla/5.0 (X11; Linux x86_64)"}, {"accept", "text/html"}, {"accept-encoding", "gzip, br"},
		{"accept-language", "en"}, {"cookie", "a=b; c=d"}, {"referer", "https://example.com/"}, {"x-forwarded-for", "192.0.2.1"},
	} {
		browser.Header.Add(f[0], f[1])
	}
	return map[string]*codec.Request{"browser": browser, "CONNECT": {Method: "CONNECT", Authority: "origin.example.com:443"}}
}

func BenchmarkEncodeRequest(b *testing.B) {
	for name, r := range benchRequests() {
		b.Run(name, func(b *testing.B) {
			c := benchConn(b, false)
			b.ReportAllocs()
			for b.Loop() {
				if err := c.encodeRequestLocked(r); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(c.hbuf.Len()), "B/head")
		})
	}
}

func BenchmarkDecodeRequest(b *testing.B) {
	for name, r := range benchRequests() {
		b.Run(name, func(b *testing.B) {
			from, to := benchConn(b, false), benchConn(b, true)
			var block []byte
			for range 2 { // the second refers to the table that the first has filled
				if err := from.encodeRequestLocked(r); err != nil {
					b.Fatal(err)
				}
				block = bytes.Clone(from.hbuf.Bytes())
				if _, err := to.decode(block); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				l, err := to.decode(block)
				if err != nil {
					b.Fatal(err)
				}
				if _, problem := l.request(true, true); problem != "" {
					b.Fatal(problem)
				}
			}
		})
	}
}

func BenchmarkEncodeResponse(b *testing.B) {
	c := benchConn(b, true)
	res := &codec.Response{Status: 200}
	for _, f := range [][2]string{{"server", "culvert"}, {"date", "Mon, 02 Jan 2006 15:04:05 GMT"}, {"content-type", "text/html"}, {"content-length", "1024"}} {
		res.Header.Add(f[0], f[1])
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := c.encodeResponseLocked(res); err != nil {
			b.Fatal(err)
		}
	}
}
