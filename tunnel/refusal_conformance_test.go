package tunnel_test

import (
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/test/peer"
	"culvert/tunnel"
	"culvert/tunnel/tunneltest"

	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// What the application sends before the answer waits for it.
func TestG02FB01EarlyBytesWait(t *testing.T) {
	tunneltest.ForEachMode(t, func(t *testing.T, m tunnel.Mode) {
		early := make(chan bool, 1)
		gw := tunneltest.NewGateway(t, m, func(r *peer.Request) {
			got := make(chan []byte, 1)
			go func() { b, _ := r.Receive(); got <- b }() // ends with the first data
			select {
			case <-got:
				early <- true
				return
			case <-time.After(150 * time.Millisecond): // G02 wants at least 100 ms of nothing
				early <- false
			}
			if r.Respond(200, false) != nil {
				return
			}
			_ = r.Send(<-got, true)
		})
		app := tunneltest.Start(t, gw, tunneltest.Options{}).App()
		_, _ = io.WriteString(app, "early")
		_ = app.CloseWrite()
		if <-early {
			t.Fatal("bytes went out before the answer")
		}
		if got, err := io.ReadAll(app); err != nil || string(got) != "early" {
			t.Errorf("read %q, %v", got, err)
		}
	})
}

// A no of whatever kind: no byte is sent, the stream is reset, an HTTP/1.1
// connection is closed (RFC 9931), and the application is not told it was an
// ordinary end.
func TestG03G04G31G32Refusals(t *testing.T) {
	shared := tunnel.Mode.Shared
	ends := func(m tunnel.Mode) bool { return !m.Raw() } // an answer can end with its head
	tests := []struct {
		name   string
		in     func(tunnel.Mode) bool // nil: every mode
		script peer.Script
		resets bool // the gateway does
	}{
		{name: "G03 FB02 FB03 503", script: peer.Answer(503)},
		{name: "G03 FB02 FB03 503 and open", script: func(r *peer.Request) { _ = r.Respond(503, false) }},
		{name: "G04 FB07 connection closed", script: func(r *peer.Request) { r.HangUp() }},
		{name: "G04 FB07 connection reset", script: func(r *peer.Request) { r.ResetConnection() }},
		{name: "stream reset", in: shared, script: peer.ResetStream(0x2), resets: true},
		{name: "CONNECT_ERROR", in: shared, script: peer.ResetStream(0xa), resets: true},
		{name: "refused for ever", in: shared, script: peer.ResetStream(0x7), resets: true},
		{name: "G31 204", in: ends, script: peer.AnswerAndEnd(204)},
		{name: "G31 201", in: shared, script: func(r *peer.Request) { _ = r.Respond(201, false) }},
		{name: "G32 200 and END_STREAM", in: ends, script: peer.AnswerAndEnd(200)},
		{name: "407", script: peer.Answer(407, "proxy-authenticate", "Basic realm=x")},
		{name: "101", script: peer.Answer(101)},
		{name: "not HTTP", in: func(m tunnel.Mode) bool { return m.Proto == codec.HTTP11 }, script: func(r *peer.Request) { _ = r.Raw([]byte("220 smtp.example ESMTP\r\n\r\n")) }},
	}
	for _, tt := range tests {
		which := tt.in
		if which == nil {
			which = func(tunnel.Mode) bool { return true }
		}
		t.Run(tt.name, func(t *testing.T) {
			tunneltest.ForModes(t, which, func(t *testing.T, m tunnel.Mode) {
				ended := make(chan error, 10) // as often as a request is sent again
				gw := tunneltest.NewGateway(t, m, func(r *peer.Request) {
					tt.script(r)
					b, err := r.Receive()
					if len(b) > 0 {
						t.Errorf("%q was sent into a tunnel that is not there", b)
					}
					ended <- err
				})
				c := tunneltest.Start(t, gw, tunneltest.Options{Format: "%RESPONSE_FLAGS% %BYTES_SENT%\n"})
				if err := c.Refused("early"); !tunneltest.IsReset(err) {
					t.Errorf("the application sees %v, want a reset", err)
				}
				if got := c.Records(1); got != "UF,URX 0\n" {
					t.Errorf("record %q", got)
				}
				c.Eventually("cluster.edge.upstream_cx_connect_attempts_exceeded", 1)
				if tt.resets && m.Shared() {
					return // then there is nothing of ours to wait for
				}
				if err := <-ended; err == nil || m.Method == tunnel.MethodPost && errors.Is(err, peer.ErrEnded) {
					t.Errorf("the gateway sees %v, want the request broken off", err)
				}
				if !m.Shared() {
					c.Eventually("cluster.edge.upstream_cx_active", 0) // RFC 9931 §4
				}
			})
		})
	}
}

// CVE-2021-43826: the application leaves while the answer is awaited: the stream
// is reset, with CANCEL where there are codes, and there is no second attempt.
func TestG23FB11ApplicationLeaves(t *testing.T) {
	tunneltest.ForEachMode(t, func(t *testing.T, m tunnel.Mode) {
		asked := make(chan struct{}, 2)
		code := make(chan uint32, 2)
		gw := tunneltest.NewGateway(t, m, func(r *peer.Request) {
			asked <- struct{}{}
			_, err := r.Receive()
			if !errors.Is(err, peer.ErrReset) {
				t.Errorf("the gateway sees %v", err)
			}
			n, _ := r.ResetCode()
			code <- n
		})
		c := tunneltest.Start(t, gw, tunneltest.Options{
			Proxy: attempts(2), Format: "%RESPONSE_FLAGS% %UPSTREAM_REQUEST_ATTEMPT_COUNT%\n",
		})
		app := c.App()
		<-asked
		_ = app.SetLinger(0)
		_ = app.Close()
		want := uint32(0x8)
		if !m.Shared() {
			want = 0
		}
		if got := <-code; got != want {
			t.Errorf("reset with code %#x, want %#x", got, want)
		}
		if got := c.Records(1); got != "DC 1\n" {
			t.Errorf("record %q", got)
		}
		if len(asked) != 0 {
			t.Error("it was asked for a second time")
		}
	})
}

// The idle timeout, unanswered, established, and with bytes that nobody takes
// stuck in both directions.
func TestG24G25Idle(t *testing.T) {
	flood := func(r *peer.Request) {
		if r.Respond(200, false) != nil {
			return
		}
		b := make([]byte, 64<<10)
		for r.Send(b, false) == nil { // until nothing goes any more
		}
	}
	tests := []idle{
		{"G24 FB12 unanswered", peer.NeverAnswer(), false},
		{"established", func(r *peer.Request) { _ = r.Respond(200, false) }, false},
		{"G25 FB13 stuck", flood, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tunneltest.ForEachMode(t, func(t *testing.T, m tunnel.Mode) {
				tunneltest.InTime(t, func(d time.Duration) bool { return tt.test(t, m, d) })
			})
		})
	}
}

// idle is a tunnel on which nothing moves.
type idle struct {
	name   string
	script peer.Script
	stuck  bool // of bytes that nobody takes
}

// test reports whether the gateway was asked before the time was over.
func (i idle) test(t *testing.T, m tunnel.Mode, timeout time.Duration) bool {
	var asked atomic.Bool
	ended := make(chan error, 1)
	gw := tunneltest.NewGateway(t, m, func(r *peer.Request) {
		asked.Store(true)
		i.script(r)
		for {
			if _, err := r.Receive(); err != nil {
				ended <- err
				return
			}
		}
	})
	c := tunneltest.Start(t, gw, tunneltest.Options{
		Proxy:  &tcpproxyv3.TcpProxy{IdleTimeout: durationpb.New(timeout)},
		Format: "%CONNECTION_TERMINATION_DETAILS% %RESPONSE_FLAGS%\n",
	})
	app := c.App()
	if i.stuck {
		c.Eventually("tcp.t.idle_timeout", 1) // nobody reads here, until it is over
	}
	n, copied := io.Copy(io.Discard, app)
	if !tunneltest.IsReset(copied) {
		t.Errorf("the application sees %v", copied)
	}
	c.Eventually("tcp.t.idle_timeout", 1)
	if got := c.Records(1); got != "tcp_session_idle_timeout -\n" {
		t.Errorf("record %q", got)
	}
	if !asked.Load() || i.stuck && n == 0 {
		return false
	}
	err := <-ended
	if i.stuck && m.Raw() && !m.Secure && errors.Is(err, peer.ErrEnded) {
		err = peer.ErrReset // a socket says it once, and its writer was told
	}
	if !errors.Is(err, peer.ErrReset) {
		t.Errorf("the gateway sees %v", err)
	}
	return true
}
