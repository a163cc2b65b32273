package h1

import (
	"strings"
	"testing"

	"culvert/proxy/codec"
)

// What a head costs by itself, without a connection. The blank line behind it is
// not parsed.

func benchConn() *conn { return &conn{cfg: Config{}.withDefaults()} }

const (
	browserHead = "GET /path/to/a/thing?with=a&query=1 HTTP/1.1\r\nHost: www.example.com\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: text/html\r\nAccept-Encoding: gzip, br\r\n" +
		"Accept-Language: en\r\nCookie: a=b; c=d\r\nReferer: https://example.com/\r\nX-Forwarded-For: 192.0.2.1\r\n"
	connectHead = "CONNECT origin.example.com:443 HTTP/1.1\r\nHost: origin.example.com:443\r\n"
)

func BenchmarkParseRequest(b *testing.B) {
	for name, head := range map[string]string{"browser": browserHead, "CONNECT": connectHead} {
		b.Run(name, func(b *testing.B) {
			c := benchConn()
			b.SetBytes(int64(len(head)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.parseRequest(head); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkWriteRequest(b *testing.B) {
	for name, head := range map[string]string{"browser": browserHead, "CONNECT": connectHead} {
		b.Run(name, func(b *testing.B) {
			c := benchConn()
			r, err := c.parseRequest(head)
			if err != nil {
				b.Fatal(err)
			}
			r.Scheme = "http"
			buf := make([]byte, 0, 4<<10)
			b.ReportAllocs()
			for b.Loop() {
				out, _, err := c.appendRequest(buf[:0], r.Request)
				if err != nil || !strings.HasPrefix(string(out[:4]), head[:3]) {
					b.Fatalf("%q, %v", out, err)
				}
			}
		})
	}
}

func BenchmarkParseResponse(b *testing.B) {
	const head = "HTTP/1.1 200 OK\r\nServer: culvert\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\nContent-Type: text/html\r\nContent-Length: 1024\r\n"
	c, req := benchConn(), &codec.Request{Method: "GET"}
	b.SetBytes(int64(len(head)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.parseResponse(head, req); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriteResponse(b *testing.B) {
	c := benchConn()
	res := &codec.Response{Status: 200}
	for _, f := range [][2]string{{"server", "culvert"}, {"date", "Mon, 02 Jan 2006 15:04:05 GMT"}, {"content-type", "text/html"}, {"content-length", "1024"}} {
		res.Header.Add(f[0], f[1])
	}
	buf := make([]byte, 0, 4<<10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.appendResponse(buf[:0], res, answer{length: true}); err != nil {
			b.Fatal(err)
		}
	}
}
