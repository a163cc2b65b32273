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
		name       string
		repeatable bool
		used       bool // before the request
		ahead      bool // made before the request
		dead       bool // before the request
		processed  bool
	}{
		{"a tunnel", true, true, false, true, false},
		{"a tunnel, on a connection that lived", true, true, false, false, true},
		{"a tunnel, for which the connection was made", true, false, false, true, true},
		{"a tunnel, on a connection made ahead", true, false, true, true, false},
		{"what is not repeatable", false, true, false, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			silent := func(ctx context.Context, s codec.ServerStream) {
				if s.Request().Authority == "first:1" {
					accept(t, s)
				}
				<-s.Context().Done()
			}
			memory(t, h2.Config{MadeAhead: c.ahead}, h2.Config{}, silent, func(t *testing.T, cc *h2.ClientConn, wire *codectest.Conn, _ context.CancelFunc, _ <-chan error) {
				if c.used {
					first := openTo(t, cc, "first:1")
					defer func() {
						if re := expectReset(t, first); errors.Is(re, codec.ErrNotProcessed) {
							t.Errorf("a tunnel that was there: %v", re)
						}
					}()
				}
				synctest.Wait()
				time.Sleep(time.Second)
				if c.dead {
					wire.Freeze()
				}
				st, err := cc.OpenStream(context.Background(), &codec.Request{Method: "CONNECT", Authority: "a:1", Repeatable: c.repeatable})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(6 * time.Second) // a PING is answered, or not
				wire.Freeze()
				_, err = st.ReadResponse(context.Background())
				if !network.IsReset(err) || !errors.Is(err, h2.ErrKeepalive) || errors.Is(err, codec.ErrNotProcessed) == c.processed {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// openTo is a tunnel that is there.
func openTo(t *testing.T, cc *h2.ClientConn, authority string) codec.ClientStream {
	t.Helper()
	st, err := cc.OpenStream(context.Background(), connectTo(authority))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.ReadResponse(context.Background()); err != nil {
		t.Fatal(err)
	}
	return st
}
