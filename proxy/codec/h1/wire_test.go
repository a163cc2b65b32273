package h1_test

import (
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h1"
	"culvert/proxy/network"
)

// countedConn counts what passes through it, above any reading ahead.
type countedConn struct {
	network.Conn
	read, wrote atomic.Uint64
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(uint64(n))
	return n, err
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.wrote.Add(uint64(n))
	return n, err
}

// wireOf is what a stream has counted.
func wireOf(s codec.Stream) network.WireBytes {
	info := &network.StreamInfo{Wire: codec.Wire(s)}
	return info.DownstreamBytes()
}

// Every byte of an exchange counts once, on both sides, and those of heads and
// trailers as such.
func TestWireBytes(t *testing.T) {
	post := func(f ...string) *codec.Request {
		return &codec.Request{Method: "POST", Authority: "a", Path: "/", Header: fields(f...)}
	}
	for name, c := range map[string]struct {
		req      *codec.Request
		trailers codec.Fields
		body     string
		overhead uint64 // of the framing of the body, per direction
	}{
		"no body":       {req: get("/")},
		"chunked":       {req: post(), body: strings.Repeat("x", 100_000), overhead: 5 + 4 + 5},
		"fixed":         {req: post("content-length", "5"), body: "12345"},
		"with trailers": {req: post(), body: "12345", trailers: fields("a", "b"), overhead: 1 + 4 + 3},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := socketPair(t)
			counted := &countedConn{Conn: far}
			served := make(chan network.WireBytes, 1)
			wait := server(t, context.Background(), counted, h1.Config{}, func(_ context.Context, s codec.ServerStream) {
				b, _ := io.ReadAll(s)
				_ = s.WriteResponse(&codec.Response{Status: 102})
				_ = s.WriteResponse(&codec.Response{Status: 200, EndStream: len(b) == 0})
				_, _ = s.Write(b)
				_ = s.WriteTrailers(s.Trailers())
				served <- wireOf(s)
			})
			cc, _ := client(t, near, h1.Config{})
			s, err := cc.OpenStream(t.Context(), c.req)
			if err != nil {
				t.Fatal(err)
			}
			if c.body != "" {
				_, _ = io.WriteString(s, c.body)
				_ = s.WriteTrailers(c.trailers)
			}
			for range 2 {
				if _, err := s.ReadResponse(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if b, err := io.ReadAll(s); string(b) != c.body || err != nil {
				t.Fatalf("%d bytes, %v", len(b), err)
			}
			client, server := wireOf(s), <-served
			_ = s.Close()
			cc.Close(nil)
			_ = wait()
			turned := network.WireBytes{Sent: server.Received, Received: server.Sent, HeaderSent: server.HeaderReceived, HeaderReceived: server.HeaderSent}
			if turned != client {
				t.Errorf("the client counts %+v, the server %+v", client, server)
			}
			if r, w := counted.read.Load(), counted.wrote.Load(); server.Received != r || server.Sent != w {
				t.Errorf("the server counts %+v; the connection had %d, %d", server, r, w)
			}
			if n := client.Sent - client.HeaderSent; n != uint64(len(c.body))+c.overhead {
				t.Errorf("%d bytes sent beside the head, want %d", n, uint64(len(c.body))+c.overhead)
			}
		})
	}
}

// A tunnel's payload is its flow's to count, whichever way it moves.
func TestWireBytesOfATunnelAreItsHeads(t *testing.T) {
	served := make(chan network.WireBytes, 1)
	near, far := socketPair(t)
	server(t, context.Background(), far, h1.Config{}, func(_ context.Context, s codec.ServerStream) {
		_ = s.WriteResponse(&codec.Response{Status: 200})
		_, _ = io.Copy(s, s)
		_ = s.CloseWrite()
		served <- wireOf(s)
	})
	cc, _ := client(t, near, h1.Config{})
	s, err := cc.OpenStream(t.Context(), connectTo("a:1"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.ReadResponse(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(s, "payload")
	_ = s.CloseWrite()
	if b, err := io.ReadAll(s); string(b) != "payload" || err != nil {
		t.Fatalf("%q, %v", b, err)
	}
	for side, b := range map[string]network.WireBytes{"client": wireOf(s), "server": <-served} {
		if b.Sent == 0 || b.Sent != b.HeaderSent || b.Received == 0 || b.Received != b.HeaderReceived {
			t.Errorf("%s: %+v, want nothing but heads", side, b)
		}
	}
}
