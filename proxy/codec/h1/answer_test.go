package h1_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h1"
)

// How a response is framed, and what becomes of one that does not fit its head.
func TestResponseFraming(t *testing.T) {
	const (
		getReq  = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
		headReq = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
		oldReq  = "GET / HTTP/1.0\r\nHost: a\r\n\r\n"
	)
	for _, tt := range []struct {
		name string
		req  string
		res  *codec.Response
		body string
		want string
		fail bool // what is written cannot be whole
	}{
		{"no body", getReq, &codec.Response{Status: 200, EndStream: true}, "", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false},
		{"lossless", getReq, &codec.Response{Status: 200, EndStream: true, Header: fields("x-B", "1", "X-b", "2", "content-length", "0", "A", "")}, "",
			"HTTP/1.1 200 OK\r\nx-B: 1\r\nX-b: 2\r\ncontent-length: 0\r\nA: \r\n\r\n", false},
		{"content-length", getReq, &codec.Response{Status: 200, Header: fields("content-length", "2")}, "hi", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", false},
		{"chunked", getReq, &codec.Response{Status: 200}, "hi", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", false},
		{"TE of another hop", getReq, &codec.Response{Status: 200, Header: fields("Transfer-Encoding", "gzip", "Connection", "x")}, "hi",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", false},
		{"HTTP/1.0", oldReq, &codec.Response{Status: 200}, "hi", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi", false},
		{"close", getReq, &codec.Response{Status: 200, EndStream: true, Header: fields("Connection", "close")}, "", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false},
		{"204", getReq, &codec.Response{Status: 204, Header: fields("Content-Length", "5")}, "", "HTTP/1.1 204 No Content\r\n\r\n", false},
		{"304", getReq, &codec.Response{Status: 304, Header: fields("Content-Length", "5")}, "", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false},
		{"HEAD", headReq, &codec.Response{Status: 200, Header: fields("Content-Length", "5"), EndStream: true}, "", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false},
		{"no reason", getReq, &codec.Response{Status: 599, EndStream: true}, "", "HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n", false},
		{"too short", getReq, &codec.Response{Status: 200, Header: fields("content-length", "5")}, "hi", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhi", true},
		{"too long", getReq, &codec.Response{Status: 200, Header: fields("content-length", "1")}, "hi", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n", true},
		{"body of a HEAD", headReq, &codec.Response{Status: 200}, "hi", "HTTP/1.1 200 OK\r\n\r\n", true},
		{"value with CRLF", getReq, &codec.Response{Status: 200, Header: fields("a", "b\r\nc: d")}, "", "", true},
		{"CL that is none", getReq, &codec.Response{Status: 200, Header: fields("content-length", "x")}, "", "", true},
		{"CL twice", getReq, &codec.Response{Status: 200, Header: fields("content-length", "1", "content-length", "2")}, "", "", true},
		{"status 0", getReq, &codec.Response{}, "", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := feed(tt.req)
			var failed error
			err := h1.ServeConn(context.Background(), c, h1.Config{AcceptHTTP10: true}, func(_ context.Context, s codec.ServerStream) {
				failed = s.WriteResponse(tt.res)
				if failed == nil && tt.body != "" {
					_, failed = io.WriteString(s, tt.body)
				}
				if failed == nil && !tt.res.EndStream {
					failed = s.CloseWrite()
				}
				_ = s.Close()
			})
			if (failed != nil) != tt.fail || (err != nil) != tt.fail {
				t.Errorf("writing: %v, the connection: %v", failed, err)
			}
			if tt.fail && c.aborted == nil {
				t.Error("the connection was not aborted")
			}
			if got := c.written(); got != tt.want {
				t.Errorf("wrote %q, want %q", got, tt.want)
			}
		})
	}
}

func TestInformationalHeads(t *testing.T) {
	for proto, want := range map[string]string{
		"1.1": "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"1.0": "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
	} {
		c := feed("POST / HTTP/" + proto + "\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi")
		err := h1.ServeConn(context.Background(), c, h1.Config{AcceptHTTP10: true}, func(_ context.Context, s codec.ServerStream) {
			for _, res := range []*codec.Response{{Status: 100}, {Status: 103, Header: fields("Link", "a")}} {
				if err := s.WriteResponse(res); err != nil {
					t.Error(err)
				}
			}
			if body, err := io.ReadAll(s); err != nil || string(body) != "hi" {
				t.Errorf("body %q, %v", body, err)
			}
			reply(t, s, 200, "")
			if err := s.WriteResponse(&codec.Response{Status: 200}); err == nil {
				t.Error("a second final head was sent")
			}
		})
		if err != nil || c.written() != want {
			t.Errorf("HTTP/%s: %v, wrote %q", proto, err, c.written())
		}
	}
}

// A body that breaks a rule after the answer has begun cannot be answered; the
// response is broken off.
func TestMalformedBodyBehindTheAnswer(t *testing.T) {
	c := feed(chunked("x\r\n"))
	err := h1.ServeConn(context.Background(), c, h1.Config{}, func(_ context.Context, s codec.ServerStream) {
		if err := s.WriteResponse(&codec.Response{Status: 200}); err != nil {
			t.Error(err)
		}
		_, err := io.ReadAll(s)
		var broken *h1.MessageError
		if !errors.As(err, &broken) {
			t.Errorf("read %v", err)
		}
		if cause := context.Cause(s.Context()); !errors.As(cause, &broken) {
			t.Errorf("the stream ended with %v", cause)
		}
		s.Reset(codec.CodeProtocol, err)
		_ = s.Close()
	})
	if err == nil || c.aborted == nil || strings.Contains(c.written(), "400") {
		t.Errorf("%v, aborted %v, wrote %q", err, c.aborted, c.written())
	}
}
