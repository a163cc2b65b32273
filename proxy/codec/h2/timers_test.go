package h2_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/codectest"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"

	"golang.org/x/net/http2"
)

// memory runs a body with a client and a server of ours over memory, with a
// clock of its own, and then ends both.
func memory(t *testing.T, ccfg, scfg h2.Config, h codec.ServerHandler,
	body func(t *testing.T, cc *h2.ClientConn, wire *codectest.Conn, stop context.CancelFunc, served <-chan error)) {
	synctest.Test(t, func(t *testing.T) {
		a, b := codectest.Pair()
		ctx, stop := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() { served <- h2.ServeConn(ctx, b, scfg, h) }() // ends with the wire
		cc := h2.NewClientConn(a, ccfg)
		go func() { _ = cc.Run(context.Background()) }() // ends by Close
		body(t, cc, a, stop, served)
		stop()
		cc.Close(errTestOver)
		a.Abort(errTestOver)
		<-cc.Done()
	})
}

func elapsed(t *testing.T, since time.Time, want time.Duration) {
	t.Helper()
	if got := time.Since(since); got < want || got > want+want/10+10*time.Millisecond {
		t.Errorf("after %v, want %v", got, want)
	}
}

// A gateway that lost power is noticed within ten seconds, whether tunnels were
// busy, silent, or not there yet.
func TestDeadGatewayIsNoticed(t *testing.T) {
	cs, stats := newCounts()
	memory(t, h2.Config{Stats: stats}, h2.Config{}, echo, func(t *testing.T, cc *h2.ClientConn, wire *codectest.Conn, _ context.CancelFunc, _ <-chan error) {
		st := open(t, cc)
		time.Sleep(time.Hour) // PINGs are answered
		write(t, st, []byte("x"))
		expectRead(t, st, []byte("x"))
		died := time.Now()
		wire.Freeze()
		if re := expectReset(t, st); !re.Remote || !errors.Is(re, h2.ErrKeepalive) {
			t.Errorf("got %v", re)
		}
		elapsed(t, died, 9*time.Second)
		<-cc.Done()
		if n := cs.get("keepalive_timeout"); n != 1 {
			t.Errorf("keepalive_timeout = %d", n)
		}
	})
}

func TestDeadIdleGatewayIsNoticedByTheNextStream(t *testing.T) {
	memory(t, h2.Config{}, h2.Config{}, echo, func(t *testing.T, cc *h2.ClientConn, wire *codectest.Conn, _ context.CancelFunc, _ <-chan error) {
		_ = open(t, cc).Close()
		synctest.Wait()
		wire.Freeze()
		time.Sleep(time.Hour) // nobody asks while nobody uses it
		start := time.Now()
		st, err := cc.OpenStream(context.Background(), connectTo("a:1"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.ReadResponse(context.Background()); !errors.Is(err, h2.ErrKeepalive) {
			t.Errorf("got %v", err)
		}
		elapsed(t, start, 4*time.Second)
	})
}

// A peer that does not answer a PING soon is doubted, until something comes.
func TestSilentPeerIsDoubted(t *testing.T) {
	memory(t, h2.Config{}, h2.Config{}, echo, func(t *testing.T, cc *h2.ClientConn, wire *codectest.Conn, _ context.CancelFunc, _ <-chan error) {
		st := open(t, cc)
		time.Sleep(time.Hour) // PINGs are answered
		if cc.Doubted() {
			t.Error("doubted although it answers")
		}
		write(t, st, []byte("x"))
		expectRead(t, st, []byte("x"))
		wire.Freeze()
		time.Sleep(4900 * time.Millisecond)
		if cc.Doubted() {
			t.Error("doubted although nobody has asked it")
		}
		time.Sleep(time.Second + 100*time.Millisecond)
		if !cc.Doubted() {
			t.Error("silent and not doubted")
		}
	})
}

// A writer that is stuck in the transport does not keep the connection alive.
func TestStuckTransportIsNoticed(t *testing.T) {
	memory(t, h2.Config{}, h2.Config{}, echo, func(t *testing.T, cc *h2.ClientConn, wire *codectest.Conn, _ context.CancelFunc, _ <-chan error) {
		st := open(t, cc)
		wire.Freeze()
		start := time.Now()
		_, err := st.Write(make([]byte, 1<<20))
		if !network.IsReset(err) {
			t.Errorf("got %v", err)
		}
		elapsed(t, start, 9*time.Second)
	})
}

func TestServerNoticesADeadClient(t *testing.T) {
	var got error // a channel made out here would stop the clock
	memory(t, h2.Config{KeepaliveInterval: -1}, h2.Config{}, func(_ context.Context, s codec.ServerStream) {
		accept(t, s)
		_, got = io.Copy(io.Discard, s)
	}, func(t *testing.T, cc *h2.ClientConn, wire *codectest.Conn, _ context.CancelFunc, served <-chan error) {
		open(t, cc)
		synctest.Wait()
		wire.Freeze()
		start := time.Now()
		<-served
		if !errors.Is(got, h2.ErrKeepalive) {
			t.Errorf("got %v", got)
		}
		elapsed(t, start, 75*time.Second)
	})
}

func TestSilentPeersAtTheStart(t *testing.T) {
	for name, first := range map[string]string{
		"nothing":         "",
		"half a preface":  http2.ClientPreface[:10],
		"no SETTINGS":     http2.ClientPreface,
		"SETTINGS no ack": http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := codectest.Pair()
				served := make(chan error, 1)
				start := time.Now()
				go func() { served <- h2.ServeConn(context.Background(), b, h2.Config{}, echo) }() // ends by its timer
				go func() { _, _ = io.Copy(io.Discard, a) }()                                      // ends with the connection
				_, _ = io.WriteString(a, first)
				if got := connErrorCode(t, <-served); got != http2.ErrCodeSettingsTimeout {
					t.Errorf("got %v", got)
				}
				elapsed(t, start, 11*time.Second) // and the second it lingers
				_ = a.Close()
			})
		})
	}
}

func TestIdleConnectionEnds(t *testing.T) {
	memory(t, h2.Config{}, h2.Config{IdleTimeout: time.Minute}, echo, func(t *testing.T, cc *h2.ClientConn, _ *codectest.Conn, _ context.CancelFunc, served <-chan error) {
		st := open(t, cc)
		time.Sleep(time.Hour) // a tunnel is use, however silent
		start := time.Now()
		_ = st.CloseWrite()
		expectEOF(t, st)
		if err := <-served; err != nil {
			t.Errorf("ServeConn: %v", err)
		}
		elapsed(t, start, time.Minute)
		<-cc.Done()
	})
}

// The drain's two phases: a stream opened before the client saw the first
// GOAWAY is served, and what is open finishes.
func TestDrainServesWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := codectest.Pair()
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		served := make(chan error, 1)
		go func() { served <- h2.ServeConn(ctx, b, h2.Config{}, echo) }() // ends with its last stream
		r := newRaw(t, a)
		r.bytes([]byte(http2.ClientPreface))
		r.ok(r.WriteSettings())
		r.ok(r.WriteSettingsAck())
		r.connect(1)
		r.head(1)
		stop()
		if f := r.wantGoAway(http2.ErrCodeNo); f.LastStreamID != 1<<31-1 {
			t.Errorf("first GOAWAY names %d", f.LastStreamID)
		}
		ping := r.until(func(f http2.Frame) bool { _, ok := f.(*http2.PingFrame); return ok }).(*http2.PingFrame)
		r.connect(3) // crossed the GOAWAY
		r.ok(r.WritePing(true, ping.Data))
		if f := r.wantGoAway(http2.ErrCodeNo); f.LastStreamID != 3 {
			t.Errorf("second GOAWAY names %d", f.LastStreamID)
		}
		r.connect(5) // came too late: ignored
		r.ok(r.WriteData(5, true, []byte("lost")))
		r.ok(r.WriteData(1, true, []byte("one")))
		r.ok(r.WriteData(3, true, []byte("three")))
		got := ""
		for range 2 {
			f := r.until(func(f http2.Frame) bool { d, ok := f.(*http2.DataFrame); return ok && len(d.Data()) > 0 })
			got += string(f.(*http2.DataFrame).Data())
		}
		if got != "onethree" && got != "threeone" {
			t.Errorf("got %q", got)
		}
		r.wantEnd()
		_ = a.CloseWrite()
		if err := <-served; err != nil {
			t.Errorf("ServeConn: %v", err)
		}
		_ = a.Close()
	})
}

func TestDrainEndsAtItsTimeout(t *testing.T) {
	var hctx context.Context
	memory(t, h2.Config{}, h2.Config{DrainTimeout: time.Minute}, func(ctx context.Context, s codec.ServerStream) {
		hctx = ctx
		accept(t, s)
		_, _ = io.Copy(io.Discard, s)
	}, func(t *testing.T, cc *h2.ClientConn, _ *codectest.Conn, stop context.CancelFunc, served <-chan error) {
		st := open(t, cc)
		start := time.Now()
		stop()
		expectReset(t, st)
		elapsed(t, start, time.Minute)
		if err := <-served; err == nil {
			t.Error("ServeConn said it ended in order")
		}
		if hctx.Err() == nil {
			t.Error("the handler's context did not end with the connection")
		}
	})
}

func TestDrainOfAnUnusedConnection(t *testing.T) {
	memory(t, h2.Config{}, h2.Config{}, echo, func(t *testing.T, cc *h2.ClientConn, _ *codectest.Conn, stop context.CancelFunc, served <-chan error) {
		_ = open(t, cc).Close()
		synctest.Wait()
		start := time.Now()
		stop()
		if err := <-served; err != nil {
			t.Errorf("ServeConn: %v", err)
		}
		elapsed(t, start, 0)
		<-cc.Done()
	})
}

// A peer that never opens its window.
func TestFB55FlushTimeout(t *testing.T) {
	cs, stats := newCounts()
	var got error
	memory(t, h2.Config{}, h2.Config{FlushTimeout: time.Minute, Stats: stats}, func(_ context.Context, s codec.ServerStream) {
		accept(t, s)
		_, got = s.Write(make([]byte, 2<<20))
	}, func(t *testing.T, cc *h2.ClientConn, _ *codectest.Conn, _ context.CancelFunc, _ <-chan error) {
		start := time.Now()
		st := open(t, cc)
		<-st.Context().Done()
		elapsed(t, start, time.Minute)
		synctest.Wait()
		if got == nil || network.IsReset(got) {
			t.Errorf("Write: %v", got)
		}
		if n := cs.get("tx_flush_timeout"); n != 1 {
			t.Errorf("tx_flush_timeout = %d", n)
		}
		if ms := cs.get("tx_stall_ms"); ms != time.Minute.Milliseconds() {
			t.Errorf("tx_stall_ms = %d, want the minute", ms)
		}
		expectReset(t, st)
	})
}

// A peer that opens its window in time, again and again, is slow and nothing
// worse.
func TestFlushTimeoutSparesTheSlow(t *testing.T) {
	memory(t, h2.Config{StreamWindow: 64 << 10}, h2.Config{FlushTimeout: time.Minute}, func(_ context.Context, s codec.ServerStream) {
		accept(t, s)
		write(t, s, make([]byte, 512<<10))
		time.Sleep(2 * time.Minute) // no Write waits now
		_ = s.CloseWrite()
	}, func(t *testing.T, cc *h2.ClientConn, _ *codectest.Conn, _ context.CancelFunc, _ <-chan error) {
		st := open(t, cc)
		for range 16 {
			time.Sleep(40 * time.Second)
			expectRead(t, st, make([]byte, 32<<10))
		}
		expectEOF(t, st)
	})
}

// slowConn says how much its peer has not acknowledged.
type slowConn struct {
	*codectest.Conn
	unsent chan int
}

func (c slowConn) Unsent() int { return <-c.unsent }

// A PING behind megabytes on a slow link is late, not lost: what is
// acknowledged meanwhile is a sign of life.
func TestSlowLinkIsNotDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := codectest.Pair()
		unsent := make(chan int, 4)
		for _, n := range []int{900, 500, 200, 200} {
			unsent <- n
		}
		go func() { _ = h2.ServeConn(context.Background(), b, h2.Config{}, echo) }() // ends with the wire
		cc := h2.NewClientConn(slowConn{a, unsent}, h2.Config{})
		go func() { _ = cc.Run(context.Background()) }() // ends by its keepalive
		open(t, cc)
		synctest.Wait()
		start := time.Now()
		a.Freeze()
		<-cc.Done()
		elapsed(t, start, 17*time.Second) // asked at 5 s, and 4 s for each sign and the last wait
		b.Abort(net.ErrClosed)
	})
}

// A client that is turned away opens no more streams; the one that is open has
// all the time it wants, until a drain sets it a limit.
func TestTurnedAwayIsNoDrain(t *testing.T) {
	cfg := h2.Config{DrainTimeout: time.Minute, Ending: func() bool { return true }}
	memory(t, h2.Config{}, cfg, echo, func(t *testing.T, cc *h2.ClientConn, _ *codectest.Conn, stop context.CancelFunc, served <-chan error) {
		st := open(t, cc)
		synctest.Wait()
		if cc.CanOpen() {
			t.Error("room although the server turned us away")
		}
		time.Sleep(time.Hour) // of the test's own clock
		start := time.Now()
		stop()
		expectReset(t, st)
		elapsed(t, start, time.Minute)
		<-served
	})
}
