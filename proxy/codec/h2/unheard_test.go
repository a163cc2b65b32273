package h2_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/codectest"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"
)

// A tunnel that is asked for on a connection which had died unnoticed may be
// asked for once more. An ordinary request may not, nor what the peer may have
// seen.
func TestDeadConnectionsDidNotProcess(t *testing.T) {
	for _, c := range []struct {
		name      string
		head      codec.Request
		dead      bool // before the request
		processed bool
	}{
		{"a tunnel", codec.Request{Method: "CONNECT", Authority: "a:1", Repeatable: true}, true, false},
		{"a tunnel, on a connection that lived", codec.Request{Method: "CONNECT", Authority: "a:1", Repeatable: true}, false, true},
		{"what is not repeatable", codec.Request{Method: "CONNECT", Authority: "a:1"}, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			silent := func(ctx context.Context, s codec.ServerStream) {
				if s.Request().Authority == "first:1" {
					accept(t, s)
				}
				<-s.Context().Done()
			}
			memory(t, h2.Config{}, h2.Config{}, silent, func(t *testing.T, cc *h2.ClientConn, wire *codectest.Conn, _ context.CancelFunc, _ <-chan error) {
				first, err := cc.OpenStream(context.Background(), connectTo("first:1"))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := first.ReadResponse(context.Background()); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				time.Sleep(time.Second)
				if c.dead {
					wire.Freeze()
				}
				st, err := cc.OpenStream(context.Background(), &c.head)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(6 * time.Second) // a PING is answered, or not
				wire.Freeze()
				_, err = st.ReadResponse(context.Background())
				if !network.IsReset(err) || !errors.Is(err, h2.ErrKeepalive) || errors.Is(err, codec.ErrNotProcessed) == c.processed {
					t.Errorf("got %v", err)
				}
				if re := expectReset(t, first); errors.Is(re, codec.ErrNotProcessed) {
					t.Errorf("a tunnel that was there: %v", re)
				}
			})
		})
	}
}
