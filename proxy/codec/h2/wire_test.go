package h2_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"
)

// wireOf is what a stream has counted.
func wireOf(s codec.Stream) network.WireBytes {
	info := &network.StreamInfo{Wire: codec.Wire(s)}
	return info.DownstreamBytes()
}

// frameHeader is what each frame has before its payload (RFC 9113 §4.1), bytes.
const frameHeader = 9

// The frames of a stream count on both sides, with their headers; long heads
// with their CONTINUATIONs, long writes as the frames they are cut into.
func TestWireBytes(t *testing.T) {
	for name, c := range map[string]struct {
		body     string
		header   codec.Fields
		trailers codec.Fields
		frames   uint64 // DATA frames of the request
	}{
		"no payload":    {frames: 1},
		"small":         {body: "12345", frames: 2},
		"large":         {body: strings.Repeat("x", 40_000), frames: 4},
		"long head":     {header: codec.Fields{{Name: "a", Value: strings.Repeat("~", 30_000)}}, frames: 1},
		"with trailers": {body: "12345", trailers: codec.Fields{{Name: "a", Value: "b"}}, frames: 1},
	} {
		t.Run(name, func(t *testing.T) {
			served := make(chan network.WireBytes, 1)
			cc := pair(t, h2.Config{}, h2.Config{MaxFrameSize: 16 << 10}, func(_ context.Context, s codec.ServerStream) {
				b, _ := io.ReadAll(s)
				_ = s.WriteResponse(&codec.Response{Status: 102})
				_ = s.WriteResponse(&codec.Response{Status: 200})
				_, _ = s.Write(b)
				_ = s.WriteTrailers(s.Trailers())
				served <- wireOf(s)
			})
			warmUp(t, cc, served)
			s, err := cc.OpenStream(t.Context(), &codec.Request{Method: "POST", Scheme: "http", Authority: "a", Path: "/", HasPath: true, Header: c.header})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			_, _ = io.WriteString(s, c.body)
			_ = s.WriteTrailers(c.trailers)
			for range 2 {
				if _, err := s.ReadResponse(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if b, err := io.ReadAll(s); string(b) != c.body || err != nil {
				t.Fatalf("%d bytes, %v", len(b), err)
			}
			client, server := wireOf(s), <-served
			turned := network.WireBytes{Sent: server.Received, Received: server.Sent, HeaderSent: server.HeaderReceived, HeaderReceived: server.HeaderSent}
			if turned != client {
				t.Errorf("the client counts %+v, the server %+v", client, server)
			}
			if n, want := client.Sent-client.HeaderSent, uint64(len(c.body))+c.frames*frameHeader; n != want {
				t.Errorf("%d bytes of DATA frames, want %d", n, want)
			}
			if client.HeaderSent < frameHeader+uint64(len(c.header.Get("a"))) || client.HeaderReceived < 2*frameHeader {
				t.Errorf("heads: %+v", client)
			}
		})
	}
}

// warmUp has the client know the server's largest frame.
func warmUp(t *testing.T, cc *h2.ClientConn, served <-chan network.WireBytes) {
	t.Helper()
	s, err := cc.OpenStream(t.Context(), connectTo("a:1"))
	if err != nil {
		t.Fatal(err)
	}
	_ = s.CloseWrite()
	_, _ = s.ReadResponse(t.Context())
	<-served
	_ = s.Close()
}
