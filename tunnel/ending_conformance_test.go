package tunnel_test

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"culvert/test/peer"
	"culvert/tunnel"
	"culvert/tunnel/tunneltest"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// volume is how much goes each way, bytes: many times what any queue on the way
// holds.
const volume = 8 << 20

// exchange is a gateway that sends one stream and receives another, both at
// once, or late: it takes nothing before its own is out and ended.
func exchange(send, receive peer.Stream, late bool, verdict chan<- error) peer.Script {
	return func(r *peer.Request) {
		if r.Respond(200, false) != nil {
			return
		}
		var wg sync.WaitGroup
		wg.Go(func() { // ends with the stream
			b := make([]byte, 64<<10)
			for in := send.Reader(); ; {
				n, err := in.Read(b)
				if sendErr := r.Send(b[:n], err != nil); err != nil || sendErr != nil {
					return
				}
			}
		})
		if late {
			wg.Wait()
		}
		v := receive.Verify()
		for {
			b, err := r.Receive()
			if err != nil {
				if !errors.Is(err, peer.ErrEnded) {
					verdict <- err
					return
				}
				break
			}
			if _, err := v.Write(b); err != nil {
				verdict <- err
				return
			}
		}
		verdict <- v.Complete()
		wg.Wait()
	}
}

// Volume each way, byte-exact, where both sides read at once, or one of them not
// before its own upload is out and ended. The windows are the smallest there are.
func TestG08G26G27Volume(t *testing.T) {
	windows := &corev3.Http2ProtocolOptions{
		InitialStreamWindowSize: wrapperspb.UInt32(65535), InitialConnectionWindowSize: wrapperspb.UInt32(65535),
	}
	tests := []struct {
		name            string
		proxy           *tcpproxyv3.TcpProxy
		appLate, gwLate bool
	}{
		{name: "G08 FB14 at once"},
		{name: "G26 FB15 application reads late", appLate: true},
		{name: "G27 FB16 gateway reads late", gwLate: true},
		{name: "FB28 behind early data", proxy: connectMode(tcpproxyv3.UpstreamConnectMode_ON_DOWNSTREAM_DATA), gwLate: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tunneltest.ForEachMode(t, func(t *testing.T, m tunnel.Mode) {
				up, down := peer.Stream{Seed: 1, Size: volume}, peer.Stream{Seed: 2, Size: volume}
				verdict := make(chan error, 1)
				gw := tunneltest.NewGateway(t, m, exchange(down, up, tt.gwLate, verdict))
				app := tunneltest.Start(t, gw, tunneltest.Options{Proxy: tt.proxy, HTTP2: windows}).App()
				var wg sync.WaitGroup
				wg.Go(func() { // ends with the upload
					if _, err := io.Copy(struct{ io.Writer }{app}, up.Reader()); err != nil {
						t.Errorf("upload: %v", err)
					}
					_ = app.CloseWrite()
				})
				if tt.appLate {
					wg.Wait()
					if err := <-verdict; err != nil {
						t.Errorf("upload: %v", err)
					}
					verdict <- nil
				}
				v := down.Verify()
				if _, err := io.Copy(v, struct{ io.Reader }{app}); err != nil {
					t.Errorf("download: %v", err)
				}
				wg.Wait()
				if err := errors.Join(v.Complete(), <-verdict); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// The far end finishes first, in each of the ways it can; the application's
// direction goes on.
func TestG11G20G21UpstreamEndsFirst(t *testing.T) {
	all := func(tunnel.Mode) bool { return true }
	tests := []struct {
		name string
		in   func(tunnel.Mode) bool
		end  func(r *peer.Request) error
	}{
		{"G11 FB17 end", all, func(r *peer.Request) error {
			return errors.Join(r.Send([]byte("hello, world"), false), r.Send(nil, true))
		}},
		{"G20 FB19 trailers", tunnel.Mode.Trailers, func(r *peer.Request) error {
			return errors.Join(r.Send([]byte("hello, world"), false), r.Trailers("x-end", "yes"))
		}},
		{"G21 FB17 end with data", all, func(r *peer.Request) error { return r.Send([]byte("hello, world"), true) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tunneltest.ForModes(t, tt.in, func(t *testing.T, m tunnel.Mode) {
				later := make(chan []byte, 1)
				gw := tunneltest.NewGateway(t, m, func(r *peer.Request) {
					if r.Respond(200, false) != nil || tt.end(r) != nil {
						return
					}
					var all []byte
					for {
						b, err := r.Receive()
						all = append(all, b...)
						if err != nil {
							if !errors.Is(err, peer.ErrEnded) {
								t.Errorf("the application's direction ended with %v", err)
							}
							later <- all
							return
						}
					}
				})
				app := tunneltest.Start(t, gw, tunneltest.Options{}).App()
				if got, err := io.ReadAll(app); err != nil || string(got) != "hello, world" {
					t.Errorf("read %q, %v", got, err)
				}
				for range 10 {
					if _, err := app.Write(bytes.Repeat([]byte("x"), 1000)); err != nil {
						t.Fatal(err)
					}
				}
				_ = app.CloseWrite()
				if got := <-later; len(got) != 10_000 {
					t.Errorf("the gateway got %d bytes", len(got))
				}
			})
		})
	}
}

// The mirror of G11: the application finishes first, the far end's direction goes
// on.
func TestApplicationEndsFirst(t *testing.T) {
	tunneltest.ForEachMode(t, func(t *testing.T, m tunnel.Mode) {
		gw := tunneltest.NewGateway(t, m, func(r *peer.Request) {
			_ = r.Respond(200, false)
			for {
				if _, err := r.Receive(); err != nil {
					if !errors.Is(err, peer.ErrEnded) {
						t.Errorf("the application's direction ended with %v", err)
					}
					break
				}
			}
			for range 10 {
				_ = r.Send(bytes.Repeat([]byte("x"), 1000), false)
			}
			_ = r.Send(nil, true)
		})
		app := tunneltest.Start(t, gw, tunneltest.Options{}).App()
		_, _ = io.WriteString(app, "bye")
		_ = app.CloseWrite()
		if got, err := io.ReadAll(app); err != nil || len(got) != 10_000 {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
	})
}

// The far end finishes and its connection dies; the application writes on: a
// reset, no crash.
func TestG12FB18ConnectionDiesAfterEnd(t *testing.T) {
	tunneltest.ForEachMode(t, func(t *testing.T, m tunnel.Mode) {
		gw := tunneltest.NewGateway(t, m, func(r *peer.Request) {
			_ = r.Respond(200, false)
			_ = r.Send([]byte("bye"), true)
			b, _ := r.Receive()
			if len(b) > 0 {
				r.HangUp()
			}
		})
		app := tunneltest.Start(t, gw, tunneltest.Options{}).App()
		if got, err := io.ReadAll(app); err != nil || string(got) != "bye" {
			t.Fatalf("read %q, %v", got, err)
		}
		var err error
		for err == nil {
			_, err = app.Write([]byte("x"))
		}
		if !tunneltest.IsReset(err) {
			t.Errorf("writing ends with %v", err)
		}
	})
}

// A reset mid tunnel is a reset, after what came before it.
func TestG22FB20Reset(t *testing.T) {
	tests := []struct {
		name  string
		reset func(r *peer.Request)
	}{
		{"reset", func(r *peer.Request) { _ = r.Reset(0xa) }},
		{"connection reset", func(r *peer.Request) { r.ResetConnection() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tunneltest.ForEachMode(t, func(t *testing.T, m tunnel.Mode) {
				gw := tunneltest.NewGateway(t, m, func(r *peer.Request) {
					_ = r.Respond(200, false)
					_, _ = r.Receive() // else the reset may be the answer to connect itself
					_ = r.Send([]byte("before"), false)
					_, _ = r.Receive() // and RST may overtake what a socket has not handed on
					tt.reset(r)
				})
				c := tunneltest.Start(t, gw, tunneltest.Options{Format: "%RESPONSE_FLAGS%\n"})
				app := c.App()
				_, _ = io.WriteString(app, "go")
				b := make([]byte, 6)
				if _, err := io.ReadFull(app, b); err != nil || string(b) != "before" {
					t.Fatalf("read %q, %v", b, err)
				}
				_, _ = io.WriteString(app, "on")
				if _, err := app.Read(b); !tunneltest.IsReset(err) {
					t.Errorf("then %v", err)
				}
				if got := c.Records(1); got != "UR\n" {
					t.Errorf("record %q", got)
				}
			})
		})
	}
}

// The gateway's process is gone, and its kernel says FIN. Where the mode can
// tell that from an end, it is a reset; an HTTP/1.1 CONNECT in the clear cannot.
func TestGatewayDiesMidTunnel(t *testing.T) {
	tunneltest.ForEachMode(t, func(t *testing.T, m tunnel.Mode) {
		gw := tunneltest.NewGateway(t, m, func(r *peer.Request) {
			_ = r.Respond(200, false)
			_, _ = r.Receive()
			_ = r.Send([]byte("x"), false)
			r.HangUp()
		})
		app := tunneltest.Start(t, gw, tunneltest.Options{}).App()
		tunneltest.RoundTrip(t, app, "x")
		_, err := app.Read(make([]byte, 1))
		if m.Raw() && !m.Secure {
			if !errors.Is(err, io.EOF) {
				t.Errorf("the application sees %v: then docs/tunnel-modes.md is wrong", err)
			}
			return
		}
		if !tunneltest.IsReset(err) {
			t.Errorf("the application sees %v", err)
		}
	})
}

// The mirror of G22: the application resets, the gateway sees a reset, with
// CONNECT_ERROR where there are codes (RFC 9113 §8.5).
func TestApplicationReset(t *testing.T) {
	tunneltest.ForEachMode(t, func(t *testing.T, m tunnel.Mode) {
		ended := make(chan error, 1)
		code := make(chan uint32, 1)
		gw := tunneltest.NewGateway(t, m, func(r *peer.Request) {
			_ = r.Respond(200, false)
			for {
				if _, err := r.Receive(); err != nil {
					n, _ := r.ResetCode()
					code <- n
					ended <- err
					return
				}
				_ = r.Send([]byte("x"), false)
			}
		})
		app := tunneltest.Start(t, gw, tunneltest.Options{}).App()
		tunneltest.RoundTrip(t, app, "x")
		_ = app.SetLinger(0)
		_ = app.Close()
		want := uint32(0xa)
		if !m.Shared() {
			want = 0
		}
		if got := <-code; got != want {
			t.Errorf("reset with code %#x, want %#x", got, want)
		}
		if err := <-ended; !errors.Is(err, peer.ErrReset) {
			t.Errorf("the gateway sees %v", err)
		}
	})
}

// The maximum duration, with bytes stuck that nobody takes.
func TestH18FB27MaxDuration(t *testing.T) {
	tunneltest.ForEachMode(t, func(t *testing.T, m tunnel.Mode) {
		tunneltest.InTime(t, func(d time.Duration) bool {
			gw := tunneltest.NewGateway(t, m, func(r *peer.Request) {
				if r.Respond(200, false) != nil {
					return
				}
				b := make([]byte, 64<<10)
				for r.Send(b, false) == nil { // until nothing goes any more
				}
			})
			c := tunneltest.Start(t, gw, tunneltest.Options{
				Proxy:  &tcpproxyv3.TcpProxy{MaxDownstreamConnectionDuration: durationpb.New(2 * d)},
				Format: "%CONNECTION_TERMINATION_DETAILS% %RESPONSE_FLAGS%\n",
			})
			app := c.App()
			c.Eventually("tcp.t.max_downstream_connection_duration", 1)
			n, err := io.Copy(io.Discard, app)
			if n == 0 {
				return false // nothing was stuck yet
			}
			if !tunneltest.IsReset(err) {
				t.Errorf("the application sees %v", err)
			}
			if got := c.Records(1); got != "max_connection_duration_reached DT\n" {
				t.Errorf("record %q", got)
			}
			return true
		})
	})
}
