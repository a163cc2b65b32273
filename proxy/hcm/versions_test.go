package hcm

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/proxy/cluster"
	"culvert/proxy/codec"
	"culvert/proxy/codec/h1"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"
)

// pair is the HTTP version of either side.
type pair struct{ down, up codec.Proto }

// forPairs runs body for each pair of versions, as a subtest of its name.
func forPairs(t *testing.T, body func(t *testing.T, p pair)) {
	t.Helper()
	for _, down := range []codec.Proto{codec.HTTP11, codec.HTTP2} {
		for _, up := range []codec.Proto{codec.HTTP11, codec.HTTP2} {
			name := strings.NewReplacer("/", "", ".", "").Replace(fmt.Sprintf("%s-%s", down, up))
			t.Run(name, func(t *testing.T) { body(t, pair{down, up}) })
		}
	}
}

// httpClient is a client's connection of either version.
type httpClient interface {
	OpenStream(ctx context.Context, req *codec.Request) (codec.ClientStream, error)
	Run(ctx context.Context) error
	Close(cause error)
	CanOpen() bool
}

// speak is our own client of a version on a connection to the manager.
func (w *wire) speak(p codec.Proto) httpClient {
	w.t.Helper()
	if p == codec.HTTP2 {
		return speakOn(w.t, w.dial(), p)
	}
	return speakOn(w.t, w.dial1(), p)
}

// request opens a stream. Nothing on it waits longer than soon.
func request(t *testing.T, cc httpClient, req *codec.Request) codec.ClientStream {
	t.Helper()
	s, err := cc.OpenStream(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	patient(s)
	return s
}

func patient(s codec.Stream) {
	_ = s.SetReadDeadline(time.Now().Add(soon))
	_ = s.SetWriteDeadline(time.Now().Add(soon))
}

// answered waits for the next head.
func answered(t *testing.T, s codec.ClientStream) *codec.Response {
	t.Helper()
	res, err := s.ReadResponse(t.Context())
	if err != nil {
		t.Fatalf("no response: %v", err)
	}
	return res
}

// httpOrigin is a cluster of one server of a version, each of whose exchanges
// is served by fn.
func httpOrigin(t *testing.T, p codec.Proto, fn func(codec.ServerStream)) *cluster.Cluster {
	t.Helper()
	handler := func(_ context.Context, s codec.ServerStream) {
		patient(s)
		fn(s)
	}
	return socketOrigin(t, p, func(ctx context.Context, c network.Conn) {
		if p == codec.HTTP2 {
			_ = h2.ServeConn(ctx, c, h2.Config{AllowConnect: true}, handler)
		} else {
			_ = h1.ServeConn(ctx, c, h1.Config{}, handler)
		}
	})
}

// socketOrigin is a cluster of a version whose connections are served by fn.
func socketOrigin(t *testing.T, p codec.Proto, fn func(context.Context, network.Conn)) *cluster.Cluster {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { // ends when the listener is closed
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { // ends with the connection, or with ctx
				s, err := network.NewSocket(c)
				if err != nil {
					return
				}
				defer s.Abort(net.ErrClosed)
				defer context.AfterFunc(ctx, func() { s.Abort(net.ErrClosed) })()
				fn(ctx, s)
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); cancel(); wg.Wait() })
	speaks := "http_protocol_options"
	if p == codec.HTTP2 {
		speaks = "http2_protocol_options"
	}
	port := ln.Addr().(*net.TCPAddr).Port
	text := fmt.Sprintf(`{"name":"c","connect_timeout":"5s","load_assignment":{"cluster_name":"c","endpoints":[{"lb_endpoints":[{"endpoint":{"address":
		{"socket_address":{"address":"127.0.0.1","port_value":%d}}}}]}]},"%s":{}}`, port, speaks)
	return realCluster(t, text)
}

// malformed is a cluster of one HTTP/1.1 server that answers every head with
// text.
func malformed(t *testing.T, text string) *cluster.Cluster {
	t.Helper()
	return socketOrigin(t, codec.HTTP11, func(_ context.Context, c network.Conn) {
		_ = c.SetDeadline(time.Now().Add(soon))
		readHead(t, c)
		_, _ = io.WriteString(c, text)
		_, _ = io.Copy(io.Discard, c)
	})
}
