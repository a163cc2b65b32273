package h2_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"

	"golang.org/x/net/http2"
)

// A connection that dies takes each of its streams along, with a reset in
// the chain, after what had arrived.
func TestFB25ConnectionLoss(t *testing.T) {
	for _, side := range []string{"client", "server"} {
		t.Run(side, func(t *testing.T) {
			h, streams := handOver(t)
			a, b := socketPair(t)
			server(t, context.Background(), b, h2.Config{}, h)
			cc := client(t, a, h2.Config{})
			var near, far []codec.Stream
			for range 20 {
				cs := open(t, cc)
				ss := next(t, streams)
				near, far = append(near, cs), append(far, ss)
			}
			dying := b
			if side == "server" {
				near, far = far, near
				dying = a
			}
			for _, s := range far {
				write(t, s, []byte("before"))
			}
			for _, s := range near { // it has arrived
				expectRead(t, s, []byte("befor"))
			}
			var wg sync.WaitGroup
			for _, s := range near {
				wg.Go(func() {
					expectRead(t, s, []byte("e"))
					if re := expectReset(t, s); !re.Remote {
						t.Errorf("Read: %+v", re)
					}
				})
				wg.Go(func() {
					for {
						if _, err := s.Write(make([]byte, 100_000)); err != nil {
							var re *network.ResetError
							if !errors.As(err, &re) {
								t.Errorf("Write: %v", err)
							}
							return
						}
					}
				})
			}
			time.AfterFunc(50*time.Millisecond, func() { dying.Abort(errTestOver) })
			wg.Wait()
			for _, s := range near {
				<-s.Context().Done()
				if cause := context.Cause(s.Context()); !network.IsReset(cause) {
					t.Errorf("context: %v", cause)
				}
			}
			if side == "client" {
				<-cc.Done()
				if _, err := cc.OpenStream(context.Background(), get()); err != h2.ErrConnClosed {
					t.Errorf("OpenStream: %v", err)
				}
				if cc.ActiveStreams() != 0 {
					t.Error("streams are left")
				}
			}
			for _, s := range append(near, far...) {
				_ = s.Close()
			}
		})
	}
}

func TestCloseTellsItsCause(t *testing.T) {
	r, cc := rawServer(t, h2.Config{})
	st := fetch(t, cc)
	cause := errors.New("configuration changed")
	cc.Close(cause)
	_, err := st.ReadResponse(context.Background())
	var re *network.ResetError
	if !errors.Is(err, cause) || !errors.As(err, &re) || re.Remote {
		t.Errorf("got %v", err)
	}
	r.wantGoAway(http2.ErrCodeNo)
	r.wantEnd()
	_ = r.nc.Close()
	<-cc.Done()
}

func TestClientDrain(t *testing.T) {
	r, cc := rawServer(t, h2.Config{})
	st := fetch(t, cc)
	r.head(1)
	cc.Drain()
	if cc.CanOpen() {
		t.Error("room while draining")
	}
	r.headers(1, true, ":status: 204")
	if _, err := st.ReadResponse(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.wantGoAway(http2.ErrCodeNo)
	r.wantEnd()
	_ = r.nc.Close()
	<-cc.Done()
}
