package h1_test

import (
	"context"
	"io"
	"net"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h1"
)

// repeatConn feeds the same request n times and forgets what is written.
type repeatConn struct {
	*feedConn
	text string
	left int
}

func (c *repeatConn) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	c.left--
	return copy(p, c.text), nil
}

func (c *repeatConn) Write(p []byte) (int, error) { return len(p), nil }

const typicalRequest = "GET /path/to/a/thing?with=a&query=1 HTTP/1.1\r\nHost: www.example.com\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: text/html\r\nAccept-Encoding: gzip, br\r\n" +
	"Accept-Language: en\r\nCookie: a=b; c=d\r\nReferer: https://example.com/\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"

func serveRepeated(n int, text string, h codec.ServerHandler) error {
	return h1.ServeConn(context.Background(), &repeatConn{feed(), text, n}, h1.Config{}, h)
}

func BenchmarkServerExchange(b *testing.B) {
	res := &codec.Response{Status: 200, EndStream: true, Header: fields("server", "culvert", "date", "Mon, 02 Jan 2006 15:04:05 GMT")}
	b.ReportAllocs()
	if err := serveRepeated(b.N, typicalRequest, func(_ context.Context, s codec.ServerStream) {
		_ = s.WriteResponse(res)
		_ = s.Close()
	}); err != nil {
		b.Fatal(err)
	}
}

// maxAllocs is what an exchange allocates on the server: the head's text, its
// fields, the request, the stream and their small change.
const maxAllocs = 12

func TestAllocationsOfAnExchange(t *testing.T) {
	res := &codec.Response{Status: 200, EndStream: true}
	const requests = 100
	got := testing.AllocsPerRun(20, func() {
		if err := serveRepeated(requests, typicalRequest, func(_ context.Context, s codec.ServerStream) {
			_ = s.WriteResponse(res)
			_ = s.Close()
		}); err != nil {
			t.Fatal(err)
		}
	})
	if per := got / requests; per > maxAllocs {
		t.Errorf("%.1f allocations an exchange, at most %d", per, maxAllocs)
	}
}

var _ net.Conn = (*repeatConn)(nil)
