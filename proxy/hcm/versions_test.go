package hcm

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"culvert/proxy/cluster"
	"culvert/proxy/codec"
	"culvert/proxy/codec/h1"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"
	"culvert/test/peer"

	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3" // named in the clusters' texts
)

// pair is the HTTP version of either side, and whether it is over TLS.
type pair struct {
	down, up             codec.Proto
	downSecure, upSecure bool
}

// forPairs runs body for each pair of versions in the clear, as a subtest of its
// name.
func forPairs(t *testing.T, body func(t *testing.T, p pair)) {
	t.Helper()
	for _, down := range []codec.Proto{codec.HTTP11, codec.HTTP2} {
		for _, up := range []codec.Proto{codec.HTTP11, codec.HTTP2} {
			name := strings.NewReplacer("/", "", ".", "").Replace(fmt.Sprintf("%s-%s", down, up))
			t.Run(name, func(t *testing.T) { body(t, pair{down: down, up: up}) })
		}
	}
}

// forSecurePairs is forPairs with and without TLS on either side, for those that
// are meant.
func forSecurePairs(t *testing.T, which func(pair) bool, body func(t *testing.T, p pair)) {
	t.Helper()
	for _, down := range []codec.Proto{codec.HTTP11, codec.HTTP2} {
		for _, up := range []codec.Proto{codec.HTTP11, codec.HTTP2} {
			if !which(pair{down: down, up: up}) {
				continue
			}
			name := strings.NewReplacer("/", "", ".", "").Replace(fmt.Sprintf("%s-%s", down, up))
			t.Run(name, func(t *testing.T) {
				for i, name := range []string{"cleartext to cleartext", "TLS to cleartext", "cleartext to TLS", "TLS to TLS"} {
					t.Run(name, func(t *testing.T) { body(t, pair{down, up, i&1 != 0, i&2 != 0}) })
				}
			})
		}
	}
}

// every pair is meant.
func every(pair) bool { return true }

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
	return socketOrigin(t, p, serving(p, fn))
}

// serving serves the exchanges of a connection of a version, with the patience
// of a test.
func serving(p codec.Proto, fn func(codec.ServerStream)) func(context.Context, network.Conn) {
	handler := func(_ context.Context, s codec.ServerStream) {
		patient(s)
		fn(s)
	}
	return func(ctx context.Context, c network.Conn) {
		if p == codec.HTTP2 {
			_ = h2.ServeConn(ctx, c, h2.Config{AllowConnect: true}, handler)
		} else {
			_ = h1.ServeConn(ctx, c, h1.Config{}, handler)
		}
	}
}

// socketOrigin is a cluster of a version whose connections are served by fn.
func socketOrigin(t *testing.T, p codec.Proto, fn func(context.Context, network.Conn)) *cluster.Cluster {
	t.Helper()
	endpoint, _ := serveConns(t, false, fn)
	return realCluster(t, `{"name":"c",`+upstreamOf(t, p, endpoint, nil)+`}`)
}

// serveConns listens until the test ends, over TLS if secure; fn serves each
// connection. ca is who has signed the certificate.
func serveConns(t *testing.T, secure bool, fn func(context.Context, network.Conn)) (endpoint string, ca *peer.CA) {
	t.Helper()
	var config *tls.Config
	if secure {
		ca = peer.NewCA(t)
		config = &tls.Config{Certificates: []tls.Certificate{ca.Issue("up")}, NextProtos: []string{"h2", "http/1.1"}}
	}
	ctx, cancel := context.WithCancel(context.Background())
	endpoint = serveTCP(t, "127.0.0.1:0", func(c *net.TCPConn) { // ends with the connection, or with ctx
		s, err := network.NewSocket(c)
		if err != nil {
			return
		}
		conn := network.Conn(s)
		if secure {
			conn = tlsConn{tls.Server(c, config)}
		}
		defer conn.Abort(net.ErrClosed)
		defer context.AfterFunc(ctx, func() { conn.Abort(net.ErrClosed) })()
		fn(ctx, conn)
	})
	t.Cleanup(cancel)
	return endpoint, ca
}

// upstreamOf is the members of a cluster of one endpoint that speaks a version,
// over TLS if it has a certificate of ca.
func upstreamOf(t *testing.T, p codec.Proto, endpoint string, ca *peer.CA) string {
	t.Helper()
	text := `"connect_timeout":"60s",` + loadAssignment(t, endpoint)
	if p == codec.HTTP2 {
		text += `,"http2_protocol_options":{}`
	} else {
		text += `,"http_protocol_options":{}`
	}
	if ca == nil {
		return text
	}
	return text + `,"transport_socket":{"name":"tls","typed_config":{
		"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext","sni":"up",
		"common_tls_context":{"validation_context":{"trusted_ca":{"inline_bytes":"` + base64.StdEncoding.EncodeToString(ca.PEM) + `"}}}}}`
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
