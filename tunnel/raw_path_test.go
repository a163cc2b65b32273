package tunnel_test

import (
	"context"
	"net"
	"sync"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h1"
	"culvert/proxy/network"
	"culvert/test/peer"
	"culvert/tunnel"
	"culvert/tunnel/tunneltest"
)

// openFunc is a pool of one connection.
type openFunc func(ctx context.Context, head *codec.Request) (codec.ClientStream, error)

func (fn openFunc) OpenStream(ctx context.Context, head *codec.Request, _ *network.StreamInfo) (codec.ClientStream, error) {
	return fn(ctx, head)
}

// An HTTP/1.1 CONNECT is its socket to whoever relays it; a POST moves chunks.
func TestHTTP1Path(t *testing.T) {
	for _, method := range []tunnel.Method{tunnel.MethodConnect, tunnel.MethodPost} {
		t.Run(method.String(), func(t *testing.T) {
			gw := tunneltest.NewGateway(t, tunnel.Mode{Proto: codec.HTTP11, Method: method}, peer.EchoTunnel())
			raw, err := net.Dial("tcp", gw.Addr())
			if err != nil {
				t.Fatal(err)
			}
			sock, err := network.NewSocket(raw)
			if err != nil {
				t.Fatal(err)
			}
			cc := h1.NewClientConn(sock, h1.Config{})
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { _ = cc.Run(ctx) }) // ends with ctx
			defer wg.Wait()
			defer cancel()
			d := tunnel.NewDialer(openFunc(cc.OpenStream), func(*network.StreamInfo) (*codec.Request, error) {
				if method == tunnel.MethodPost {
					return &codec.Request{Method: "POST", Authority: "a:1", Path: "/"}, nil
				}
				return &codec.Request{Method: "CONNECT", Authority: "a:1"}, nil
			})
			c, _, err := d.Open(t.Context(), network.NewStreamInfo(1))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Abort(nil)
			beneath := c
			for {
				u, ok := beneath.(network.Unwrapper)
				if !ok {
					break
				}
				beneath = u.Unwrap()
			}
			if (beneath == network.Conn(sock)) != (method == tunnel.MethodConnect) {
				t.Errorf("beneath is a %T", beneath)
			}
			if got := network.PathName(c, sock); got != "chunk" && method == tunnel.MethodPost {
				t.Errorf("moved by %s", got)
			}
			tunneltest.RoundTrip(t, c, "through")
		})
	}
}
