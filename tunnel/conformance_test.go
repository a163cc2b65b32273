package tunnel_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"culvert/test/peer"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// G01, G07, G13, G14: a CONNECT without scheme and path, bytes both ways, a
// clean end, one record.
func TestG01G07G13G14Basic(t *testing.T) {
	asked := make(chan *peer.Request, 1)
	gw := gateway(t, nil, func(r *peer.Request) { asked <- r; peer.EchoTunnel()(r) })
	c := start(t, gw.Addr(), options{format: "%ACCESS_LOG_TYPE% %BYTES_RECEIVED% %BYTES_SENT% %RESPONSE_FLAGS% %UPSTREAM_HOST%\n"})
	app := c.app()
	roundTrip(t, app, "hello")
	_ = app.CloseWrite()
	if rest, err := io.ReadAll(app); err != nil || len(rest) != 0 {
		t.Errorf("the end: %q, %v", rest, err)
	}
	r := <-asked
	if r.Get(":method") != "CONNECT" || r.Get(":authority") != "foo.lyft.com:80" || r.Get("cdn-loop") != "culvert; hops=1" || len(r.Fields) != 3 {
		t.Errorf("request %v", r.Fields)
	}
	if got, want := c.records(1), "TcpConnectionEnd 5 5 - "+gw.Addr()+"\n"; got != want {
		t.Errorf("record %q, want %q", got, want)
	}
}

// G01 over TLS with ALPN, verified.
func TestG01TLS(t *testing.T) {
	ca := peer.NewCA(t)
	gw := gateway(t, &tls.Config{Certificates: []tls.Certificate{ca.Issue("gw.example")}, NextProtos: []string{"h2"}}, peer.EchoTunnel())
	c := start(t, gw.Addr(), options{tls: trusting(ca, "gw.example")})
	app := c.app()
	roundTrip(t, app, "through TLS")
	_ = app.CloseWrite()
	if _, err := io.ReadAll(app); err != nil {
		t.Error(err)
	}
}

func trusting(ca *peer.CA, sni string) *tlsv3.UpstreamTlsContext {
	return &tlsv3.UpstreamTlsContext{Sni: sni, CommonTlsContext: &tlsv3.CommonTlsContext{
		ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			TrustedCa: &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: ca.PEM}},
		}},
	}}
}

// G02, D 1: what the application sends before the answer waits for it.
func TestG02EarlyBytesWait(t *testing.T) {
	early := make(chan bool, 1)
	gw := gateway(t, nil, func(r *peer.Request) {
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
	c := start(t, gw.Addr(), options{})
	app := c.app()
	_, _ = io.WriteString(app, "early")
	_ = app.CloseWrite()
	if <-early {
		t.Fatal("bytes went out before the answer")
	}
	if got, err := io.ReadAll(app); err != nil || string(got) != "early" {
		t.Errorf("read %q, %v", got, err)
	}
}

// G03, G04, G31, G32, D 2, D 7: a no of whatever kind: no byte is sent, the
// stream is reset, and the application is not told it was an ordinary end.
func TestG03G04G31G32Refusals(t *testing.T) {
	tests := []struct {
		name   string
		script peer.Script
	}{
		{"G03 503", peer.Answer(503)},
		{"G03 503 and open", func(r *peer.Request) { _ = r.Respond(503, false); awaitReset(r) }},
		{"G04 connection closed", func(r *peer.Request) { r.HangUp() }},
		{"G04 connection reset", func(r *peer.Request) { r.ResetConnection() }},
		{"stream reset", peer.ResetStream(0x2)},
		{"CONNECT_ERROR", peer.ResetStream(0xa)},
		{"refused for ever", peer.ResetStream(0x7)},
		{"G31 204", peer.Answer(204)},
		{"G31 201", func(r *peer.Request) { _ = r.Respond(201, false); awaitReset(r) }},
		{"G32 200 and END_STREAM", peer.AnswerAndEnd(200)},
		{"407", peer.Answer(407, "proxy-authenticate", "Basic realm=x")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			gw := gateway(t, nil, func(r *peer.Request) {
				tt.script(r)
				if b, err := r.Receive(); err == nil && len(b) > 0 {
					t.Errorf("%q was sent into a tunnel that is not there", b)
				}
			})
			c := start(t, gw.Addr(), options{format: "%RESPONSE_FLAGS% %BYTES_SENT%\n"})
			if err := c.refused("early"); !isReset(err) {
				t.Errorf("the application sees %v, want a reset", err)
			}
			if got := c.records(1); got != "UF,URX 0\n" {
				t.Errorf("record %q", got)
			}
			if got := c.value("cluster.edge.upstream_cx_connect_attempts_exceeded"); got != 1 {
				t.Errorf("upstream_cx_connect_attempts_exceeded %d", got)
			}
		})
	}
}

// awaitReset waits for our reset, as G03 wants it.
func awaitReset(r *peer.Request) {
	for {
		if _, err := r.Receive(); err != nil {
			return
		}
	}
}

// G08, G27, D 14, D 16: 8 MiB each way at once, byte-exact, the upload ended
// first.
func TestG08Volume(t *testing.T) {
	const size = 8 << 20
	up, down := peer.Stream{Seed: 1, Size: size}, peer.Stream{Seed: 2, Size: size}
	verdict := make(chan error, 1)
	gw := gateway(t, nil, func(r *peer.Request) {
		if r.Respond(200, false) != nil {
			return
		}
		var wg sync.WaitGroup
		wg.Go(func() { // ends with the download
			b := make([]byte, 64<<10)
			for in := down.Reader(); ; {
				n, err := in.Read(b)
				if sendErr := r.Send(b[:n], err != nil); err != nil || sendErr != nil {
					return
				}
			}
		})
		v := up.Verify()
		for {
			b, err := r.Receive()
			if err != nil {
				break
			}
			if _, err := v.Write(b); err != nil {
				verdict <- err
				return
			}
		}
		verdict <- v.Complete()
		wg.Wait()
	})
	c := start(t, gw.Addr(), options{})
	app := c.app()
	var wg sync.WaitGroup
	wg.Go(func() { // ends with the upload
		if _, err := io.Copy(struct{ io.Writer }{app}, up.Reader()); err != nil {
			t.Errorf("upload: %v", err)
		}
		_ = app.CloseWrite()
	})
	v := down.Verify()
	if _, err := io.Copy(v, struct{ io.Reader }{app}); err != nil {
		t.Errorf("download: %v", err)
	}
	wg.Wait()
	if err := errors.Join(v.Complete(), <-verdict); err != nil {
		t.Error(err)
	}
}

// G11, G20, G21, D 17, D 19: the far end finishes first, in each of the ways it
// can; the application's direction goes on.
func TestG11G20G21UpstreamEndsFirst(t *testing.T) {
	tests := []struct {
		name string
		end  func(r *peer.Request) error
	}{
		{"G11 END_STREAM", func(r *peer.Request) error {
			return errors.Join(r.Send([]byte("hello, world"), false), r.Send(nil, true))
		}},
		{"G20 trailers", func(r *peer.Request) error {
			return errors.Join(r.Send([]byte("hello, world"), false), r.Trailers("x-end", "yes"))
		}},
		{"G21 END_STREAM with data", func(r *peer.Request) error { return r.Send([]byte("hello, world"), true) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			later := make(chan []byte, 1)
			gw := gateway(t, nil, func(r *peer.Request) {
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
			app := start(t, gw.Addr(), options{}).app()
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
	}
}

// G12, D 18: the far end finishes and its connection dies; the application
// writes on: a reset, no crash.
func TestG12ConnectionDiesAfterEnd(t *testing.T) {
	gw := gateway(t, nil, func(r *peer.Request) {
		_ = r.Respond(200, false)
		_ = r.Send([]byte("bye"), true)
		b, _ := r.Receive()
		if len(b) > 0 {
			r.HangUp()
		}
	})
	app := start(t, gw.Addr(), options{}).app()
	if got, err := io.ReadAll(app); err != nil || string(got) != "bye" {
		t.Fatalf("read %q, %v", got, err)
	}
	var err error
	for err == nil {
		_, err = app.Write([]byte("x"))
	}
	if !isReset(err) {
		t.Errorf("writing ends with %v", err)
	}
}

// G17, D 21: GOAWAY mid tunnel: the tunnel finishes, the next flow has a new
// connection, the old one goes.
func TestG17GoAway(t *testing.T) {
	gw := gateway(t, nil, peer.InTurn(func(r *peer.Request) {
		if r.Respond(200, false) != nil || r.GoAway(r.ID, 0) != nil || r.Send([]byte("x"), false) != nil {
			return
		}
		for {
			b, err := r.Receive()
			if err != nil {
				_ = r.Send(nil, true)
				return
			}
			_ = r.Send(b, false)
		}
	}, peer.EchoTunnel()))
	c := start(t, gw.Addr(), options{})
	first := c.app()
	if _, err := io.ReadFull(first, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	second := c.app()
	roundTrip(t, second, "second")
	roundTrip(t, first, "still here")
	if got := gw.Connections(); got != 2 {
		t.Errorf("%d connections", got)
	}
	_ = first.CloseWrite()
	if _, err := io.ReadAll(first); err != nil {
		t.Error(err)
	}
	c.eventually("cluster.edge.upstream_cx_destroy", 1)
	roundTrip(t, second, "and so am I")
}

// G17: a GOAWAY that crosses the request: it is sent again, unseen.
func TestG17GoAwayCrossesRequest(t *testing.T) {
	gw := gateway(t, nil, peer.InTurn(func(r *peer.Request) { _ = r.GoAway(0, 0) }, peer.EchoTunnel()))
	c := start(t, gw.Addr(), options{})
	roundTrip(t, c.app(), "twice")
	if got := gw.Connections(); got != 2 {
		t.Errorf("%d connections", got)
	}
}

// G22, D 20: a reset mid tunnel is a reset, after what came before it.
func TestG22StreamReset(t *testing.T) {
	gw := gateway(t, nil, func(r *peer.Request) {
		_ = r.Respond(200, false)
		_, _ = r.Receive() // else the reset may be the answer to connect itself
		_ = r.Send([]byte("before"), false)
		_ = r.Reset(0xa)
	})
	c := start(t, gw.Addr(), options{format: "%RESPONSE_FLAGS%\n"})
	app := c.app()
	_, _ = io.WriteString(app, "go")
	b := make([]byte, 6)
	if _, err := io.ReadFull(app, b); err != nil || string(b) != "before" {
		t.Fatalf("read %q, %v", b, err)
	}
	if _, err := app.Read(b); !isReset(err) {
		t.Errorf("then %v", err)
	}
	if got := c.records(1); got != "UR\n" {
		t.Errorf("record %q", got)
	}
}

// The mirror of G22: the application resets, the gateway sees CONNECT_ERROR (RFC
// 9113 §8.5).
func TestApplicationReset(t *testing.T) {
	code := make(chan uint32, 1)
	gw := gateway(t, nil, func(r *peer.Request) {
		_ = r.Respond(200, false)
		for {
			if _, err := r.Receive(); err != nil {
				n, _ := r.ResetCode()
				code <- n
				return
			}
			_ = r.Send([]byte("x"), false)
		}
	})
	app := start(t, gw.Addr(), options{}).app()
	roundTrip(t, app, "x")
	_ = app.SetLinger(0)
	_ = app.Close()
	if got := <-code; got != 0xa {
		t.Errorf("reset with code %#x, want CONNECT_ERROR", got)
	}
}

// G23, CVE-2021-43826, D 11: the application leaves while the answer is
// awaited: the stream is reset with CANCEL, there is no second attempt.
func TestG23ApplicationLeaves(t *testing.T) {
	asked := make(chan struct{}, 2)
	code := make(chan uint32, 2)
	gw := gateway(t, nil, func(r *peer.Request) {
		asked <- struct{}{}
		_, _ = r.Receive()
		n, _ := r.ResetCode()
		code <- n
	})
	c := start(t, gw.Addr(), options{
		proxy:  &tcpproxyv3.TcpProxy{MaxConnectAttempts: wrapperspb.UInt32(2)},
		format: "%RESPONSE_FLAGS% %UPSTREAM_REQUEST_ATTEMPT_COUNT%\n",
	})
	app := c.app()
	<-asked
	_ = app.SetLinger(0)
	_ = app.Close()
	if got := <-code; got != 0x8 {
		t.Errorf("reset with code %#x, want CANCEL", got)
	}
	if got := c.records(1); got != "DC 1\n" {
		t.Errorf("record %q", got)
	}
	if len(asked) != 0 {
		t.Error("it was asked for a second time")
	}
}

// G24, G25, D 12: the idle timeout, unanswered and established.
func TestG24G25Idle(t *testing.T) {
	for name, script := range map[string]peer.Script{"unanswered": peer.NeverAnswer(), "established": peer.Answer(200)} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 1)
			gw := gateway(t, nil, func(r *peer.Request) {
				script(r)
				_, err := r.Receive()
				ended <- err
			})
			c := start(t, gw.Addr(), options{proxy: &tcpproxyv3.TcpProxy{IdleTimeout: durationpb.New(100 * time.Millisecond)}})
			app := c.app()
			if _, err := app.Read(make([]byte, 1)); !isReset(err) {
				t.Errorf("the application sees %v", err)
			}
			if err := <-ended; !errors.Is(err, peer.ErrReset) {
				t.Errorf("the gateway sees %v", err)
			}
			c.eventually("tcp.t.idle_timeout", 1)
		})
	}
}

// G28, D 22: flows one after the other, and side by side, share a connection.
func TestG28Reuse(t *testing.T) {
	gw := gateway(t, nil, peer.EchoTunnel())
	c := start(t, gw.Addr(), options{})
	for range 3 {
		app := c.app()
		roundTrip(t, app, "one")
		_ = app.CloseWrite()
		_, _ = io.ReadAll(app)
	}
	var wg sync.WaitGroup
	for range 20 {
		app := c.app()
		wg.Go(func() { roundTrip(t, app, "side by side") })
	}
	wg.Wait()
	if got := gw.Connections(); got != 1 {
		t.Errorf("%d connections", got)
	}
	if got := c.value("cluster.edge.upstream_rq_total"); got != 23 {
		t.Errorf("upstream_rq_total %d", got)
	}
}

// G33, D 8: the first connection dies before its answer, the second attempt is
// on another; what waited is delivered once.
func TestG33SecondAttempt(t *testing.T) {
	gw := gateway(t, nil, peer.InTurn(func(r *peer.Request) { r.HangUp() }, peer.EchoTunnel()))
	c := start(t, gw.Addr(), options{
		proxy:  &tcpproxyv3.TcpProxy{MaxConnectAttempts: wrapperspb.UInt32(2)},
		format: "%UPSTREAM_REQUEST_ATTEMPT_COUNT% %RESPONSE_FLAGS%\n",
	})
	app := c.app()
	roundTrip(t, app, "once")
	_ = app.CloseWrite()
	if rest, err := io.ReadAll(app); err != nil || len(rest) != 0 {
		t.Errorf("then %q, %v", rest, err)
	}
	if got := c.records(1); got != "2 UF\n" {
		t.Errorf("record %q", got)
	}
	if got := gw.Connections(); got != 2 {
		t.Errorf("%d connections", got)
	}
}
