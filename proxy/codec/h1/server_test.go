package h1_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h1"
)

// netHTTP is net/http's client over one connection of ours.
func netHTTP(t *testing.T, h codec.ServerHandler) *http.Client {
	t.Helper()
	a, _ := serve(t, h1.Config{}, h)
	used := false
	tr := &http.Transport{DialContext: func(context.Context, string, string) (c net.Conn, err error) {
		if used {
			t.Error("a second connection was needed")
			return nil, errTestOver
		}
		used = true
		return a, nil
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestServerKeepsAliveForNetHTTP(t *testing.T) {
	c := netHTTP(t, echo(t))
	for _, body := range []string{"", "short", strings.Repeat("long", 100_000)} {
		for _, chunked := range []bool{false, true} {
			var r io.Reader = strings.NewReader(body)
			if chunked {
				r = struct{ io.Reader }{r}
			}
			res, err := c.Post("http://example.com/echo?q", "text/plain", r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || string(got) != body || res.StatusCode != 200 {
				t.Fatalf("chunked %v: %d, %d bytes, %v; want %d bytes", chunked, res.StatusCode, len(got), err, len(body))
			}
		}
	}
}

func TestPipelinedRequestsAreServedInOrder(t *testing.T) {
	a, wait := serve(t, h1.Config{}, func(_ context.Context, s codec.ServerStream) {
		body, err := io.ReadAll(s)
		if err != nil {
			t.Error(err)
		}
		reply(t, s, 200, s.Request().Path+string(body))
	})
	var in bytes.Buffer
	in.WriteString("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
	in.WriteString("POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\r\n")
	in.WriteString("POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nd\r\n0\r\n\r\n")
	in.WriteString("GET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if _, err := a.Write(in.Bytes()); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(a)
	if err != nil {
		t.Fatal(err)
	}
	chunk := func(n, s string) string {
		return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + n + "\r\n" + s + "\r\n0\r\n\r\n"
	}
	want := chunk("2", "/1") + chunk("5", "/2abc") + chunk("3", "/3d") +
		strings.Replace(chunk("2", "/4"), "chunked\r\n", "chunked\r\nConnection: close\r\n", 1)
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := wait(); err != nil {
		t.Errorf("connection ended with %v", err)
	}
}
