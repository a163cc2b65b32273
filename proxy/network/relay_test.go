package network

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// rig is a relay between two loopback connections: app <-> down, up <-> origin.
type rig struct {
	app, origin *net.TCPConn
	meter       Meter
	result      chan RelayResult
	cancel      context.CancelCauseFunc
}

// startRelay relays in the background; the result arrives on r.result.
func startRelay(t *testing.T, wrap func(Conn) Conn, opt RelayOptions) *rig {
	t.Helper()
	down, app := socketPair(t)
	up, origin := socketPair(t)
	r := &rig{app: app, origin: origin, result: make(chan RelayResult, 1)}
	ctx, cancel := context.WithCancelCause(context.Background())
	r.cancel = cancel
	t.Cleanup(func() { cancel(nil) })
	opt.Meter = &r.meter
	go func() { r.result <- Relay(ctx, wrap(down), wrap(up), opt) }() // ends with the relay
	return r
}

func (r *rig) wait(t *testing.T) RelayResult {
	t.Helper()
	select {
	case res := <-r.result:
		return res
	case <-time.After(time.Minute):
		t.Fatal("the relay did not end")
		return RelayResult{}
	}
}

func bare(c Conn) Conn { return c }

// plain hides what a Socket can do beyond Conn, so that Relay must copy.
func plain(c Conn) Conn { return struct{ Conn }{c} }

// chunks hides that an end is a kernel socket.
func chunks(c Conn) Conn {
	return struct {
		Conn
		ChunkReader
		ChunkWriter
		SendQueue
	}{c, c.(ChunkReader), c.(ChunkWriter), c.(SendQueue)}
}

// polled is chunks that need not be waited for.
func polled(c Conn) Conn {
	p := &pollConn{Conn: c, ChunkReader: c.(ChunkReader), ChunkWriter: c.(ChunkWriter), SendQueue: c.(SendQueue)}
	return p
}

type pollConn struct {
	Conn
	ChunkReader
	ChunkWriter
	SendQueue

	mu    sync.Mutex
	asked bool // somebody reads
	chunk *Chunk
	err   error
}

func (p *pollConn) PollChunk(ready func()) (*Chunk, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked && (p.chunk != nil || p.err != nil) {
		p.asked = false
		return p.chunk, p.err
	}
	p.asked, p.chunk, p.err = true, nil, nil
	go func() { // ends with the connection
		chunk, err := p.ReadChunk()
		p.mu.Lock()
		p.chunk, p.err = chunk, err
		p.mu.Unlock()
		ready()
	}()
	return nil, nil
}

// silent is an end that never has anything to read, until it is aborted.
type silent struct {
	Conn  // nil: nothing else of it is asked
	mu    sync.Mutex
	ready func()
	cause error
	asked *sync.WaitGroup // done when it is polled first; may be nil
}

func (s *silent) ReadChunk() (*Chunk, error) { panic("it is polled") }
func (s *silent) WriteChunk(*Chunk) error    { panic("there is nothing to write") }
func (s *silent) Close() error               { return nil }

func (s *silent) PollChunk(ready func()) (*Chunk, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready == nil && s.asked != nil {
		s.asked.Done()
	}
	s.ready = ready
	return nil, s.cause
}

func (s *silent) Abort(cause error) {
	s.mu.Lock()
	s.cause = cause
	ready := s.ready
	s.mu.Unlock()
	if ready != nil {
		ready()
	}
}

// An idle flow whose ends can be polled is one goroutine, that of its caller.
func TestIdleFlowIsOneGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	const flows = 100
	ctx, cancel := context.WithCancelCause(context.Background())
	var over, asked sync.WaitGroup
	asked.Add(2 * flows)
	for range flows {
		over.Go(func() { Relay(ctx, &silent{asked: &asked}, &silent{asked: &asked}, RelayOptions{Meter: &Meter{}}) })
	}
	asked.Wait()
	most := before + flows // of which others' may have ended meanwhile
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > most; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("%d goroutines for %d flows", runtime.NumGoroutine()-before, flows)
			break
		}
	}
	cancel(errors.New("the test is over"))
	over.Wait()
}

// sendQueue is plain that still knows what its peer has not acknowledged.
func sendQueue(c Conn) Conn {
	return struct {
		Conn
		SendQueue
	}{c, c.(SendQueue)}
}

// observer only watches; Relay must look through it.
type observer struct{ Conn }

func (o observer) Unwrap() Conn { return o.Conn }

func TestChoosePath(t *testing.T) {
	s, _ := socketPair(t)
	for _, c := range []struct {
		name     string
		src, dst Conn
		want     string
	}{
		{"socket to socket", s, s, "splice"},
		{"observed sockets", observer{observer{s}}, observer{s}, "splice"},
		{"chunks", chunks(s), chunks(s), "chunk"},
		{"polled to chunks", polled(s), chunks(s), "poll"},
		{"socket to plain", s, plain(s), "chunk-write"},
		{"plain to socket", plain(s), s, "copy"},
		{"plain to plain", plain(s), plain(s), "copy"},
	} {
		if got := choosePath(c.src, c.dst).name(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// random is a repeatable stream of n bytes.
func random(seed uint64, n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{byte(seed)}), n)
}

func digest(r io.Reader) (hash.Hash, int64, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return h, n, err
}

// Both directions carry 16 MiB; each ends on its own, whoever is first, and
// nothing is lost.
func TestRelayHalfCloses(t *testing.T) {
	const size = 16 << 20
	for _, first := range []string{"app", "origin", "both"} {
		for name, wrap := range map[string]func(Conn) Conn{"splice": bare, "chunk": chunks, "poll": polled, "copy": plain} {
			t.Run(first+"/"+name, func(t *testing.T) {
				r := startRelay(t, wrap, RelayOptions{})
				early, late := r.app, r.origin
				if first == "origin" {
					early, late = late, early
				}
				earlyDone := make(chan struct{})
				if first == "both" {
					close(earlyDone)
				}
				errs := make(chan error, 2)
				send := func(c *net.TCPConn, seed uint64, after <-chan struct{}) {
					if after != nil {
						<-after
					}
					_, err := io.Copy(c, random(seed, size))
					errs <- errors.Join(err, c.CloseWrite())
				}
				go send(early, 1, nil)      // ends when all is written
				go send(late, 2, earlyDone) // waits for the other direction's end
				h, n, err := digest(late)
				if first != "both" {
					close(earlyDone)
				}
				want, _, _ := digest(random(1, size))
				if err != nil || n != size || !bytes.Equal(h.Sum(nil), want.Sum(nil)) {
					t.Errorf("first direction: %d bytes, %v, or the digest differs", n, err)
				}
				h, n, err = digest(early)
				want, _, _ = digest(random(2, size))
				if err != nil || n != size || !bytes.Equal(h.Sum(nil), want.Sum(nil)) {
					t.Errorf("second direction: %d bytes, %v, or the digest differs", n, err)
				}
				if err := errors.Join(<-errs, <-errs); err != nil {
					t.Error(err)
				}
				res := r.wait(t)
				if res.Err != nil || res.Downstream != EndFIN || res.Upstream != EndFIN {
					t.Errorf("result %+v, want two FINs", res)
				}
				if r.meter.BytesReceived() != size || r.meter.BytesSent() != size {
					t.Errorf("meter %d/%d", r.meter.BytesReceived(), r.meter.BytesSent())
				}
			})
		}
	}
}

// What a side sent before it reset arrives before the reset.
func TestRelayResetAfterBytes(t *testing.T) {
	const size = 4 << 20
	for name, wrap := range map[string]func(Conn) Conn{"splice": bare, "chunk": chunks, "poll": polled, "copy": sendQueue} {
		t.Run(name, func(t *testing.T) {
			r := startRelay(t, wrap, RelayOptions{})
			got := make(chan int64, 1)
			var readErr error
			go func() { // ends with the reset
				_, n, err := digest(r.app)
				readErr = err
				got <- n
			}()
			if _, err := io.Copy(r.origin, random(1, size)); err != nil {
				t.Fatal(err)
			}
			s, _ := NewSocket(r.origin)
			AwaitSent(s, sentWait, nil) // our own RST must not overtake our bytes
			s.Abort(nil)
			if n := <-got; n != size || !IsReset(readErr) {
				t.Errorf("app got %d bytes and %v, want %d and a reset", n, readErr, size)
			}
			if res := r.wait(t); res.Upstream != EndReset || !IsReset(res.Err) {
				t.Errorf("result %+v, want an upstream reset", res)
			}
		})
	}
}

// The same while the other side is sending: whoever learns of the reset first,
// the reader or the writer, every byte arrives, and then a reset, never an end.
func TestRelayResetWhileBeingSentTo(t *testing.T) {
	const size = 1 << 20
	for name, wrap := range map[string]func(Conn) Conn{"splice": bare, "chunk": chunks, "poll": polled, "copy": sendQueue} {
		t.Run(name, func(t *testing.T) {
			for range 30 {
				r := startRelay(t, wrap, RelayOptions{})
				go io.Copy(r.app, random(2, 64<<20)) // ends with the reset
				if _, err := io.Copy(r.origin, random(1, size)); err != nil {
					t.Fatal(err)
				}
				s, _ := NewSocket(r.origin)
				AwaitSent(s, sentWait, nil)
				s.Abort(nil)
				app, _ := NewSocket(r.app) // the kernel may tell our writer of the reset
				_, n, err := digest(app)
				if n != size || !IsReset(err) {
					t.Fatalf("app got %d bytes and %v, want %d and a reset", n, err, size)
				}
				if res := r.wait(t); res.Upstream != EndReset {
					t.Fatalf("result %+v, want an upstream reset", res)
				}
			}
		})
	}
}

// A side that is broken and another that does not read: the flow ends all the
// same.
func TestRelayBrokenSideDoesNotHoldTheFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		down, app := net.Pipe()
		up := &brokenConn{write: broken, done: make(chan struct{})}
		var m Meter
		go func() { _, _ = app.Write([]byte("x")) }() // ends when it is read
		start := time.Now()
		res := Relay(t.Context(), pipeConn{down}, up, RelayOptions{Meter: &m})
		if !errors.Is(res.Err, broken) {
			t.Errorf("ended with %v, want %v", res.Err, broken)
		}
		if d := time.Since(start); d < resetGrace || d > 2*resetGrace {
			t.Errorf("ended after %v, want %v", d, resetGrace)
		}
	})
}

// brokenConn refuses writes and never has anything to read.
type brokenConn struct {
	net.Conn
	write error
	done  chan struct{}
	once  sync.Once
}

func (b *brokenConn) Read([]byte) (int, error)  { <-b.done; return 0, net.ErrClosed }
func (b *brokenConn) Write([]byte) (int, error) { return 0, b.write }
func (b *brokenConn) CloseWrite() error         { return b.write }
func (b *brokenConn) Abort(error)               { b.once.Do(func() { close(b.done) }) }
func (b *brokenConn) Close() error              { b.Abort(nil); return nil }

func TestRelayResetByApplication(t *testing.T) {
	r := startRelay(t, bare, RelayOptions{})
	r.app.SetLinger(0)
	r.app.Close()
	if _, err := r.origin.Read(make([]byte, 1)); !IsReset(err) {
		t.Errorf("origin read: %v, want a reset", err)
	}
	if res := r.wait(t); res.Downstream != EndReset {
		t.Errorf("result %+v, want a downstream reset", res)
	}
}

// closing observes that a Conn is closed, and what was counted by then.
type closing struct {
	Conn
	sent   func() uint64
	closed chan<- uint64
}

func (c closing) Unwrap() Conn { return c.Conn }

func (c closing) Close() error {
	c.closed <- c.sent()
	return c.Conn.Close()
}

// Both ends are closed after an abort as well, when all has been counted.
func TestRelayClosesAfterAnAbort(t *testing.T) {
	closed := make(chan uint64, 2)
	var r *rig
	ready := make(chan struct{})
	sent := func() uint64 { <-ready; return r.meter.BytesSent() }
	r = startRelay(t, func(c Conn) Conn { return closing{c, sent, closed} }, RelayOptions{})
	close(ready)
	if _, err := r.origin.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r.app, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	s, _ := NewSocket(r.app)
	s.Abort(nil)
	if res := r.wait(t); res.Downstream != EndReset {
		t.Errorf("result %+v, want a downstream reset", res)
	}
	for range 2 { // both are closed when Relay has returned
		select {
		case n := <-closed:
			if n != 5 {
				t.Errorf("closed when %d bytes were counted, want 5", n)
			}
		default:
			t.Error("an end is not closed")
		}
	}
}

func TestRelayCancel(t *testing.T) {
	r := startRelay(t, bare, RelayOptions{})
	stop := errors.New("stop")
	r.cancel(stop)
	if _, err := r.app.Read(make([]byte, 1)); !IsReset(err) {
		t.Errorf("app read: %v, want a reset", err)
	}
	if res := r.wait(t); !errors.Is(res.Err, stop) || res.Downstream != EndOpen {
		t.Errorf("result %+v, want %v", res, stop)
	}
}

// pipeConn is a net.Pipe end as a Conn, for time-outs under a fake clock.
type pipeConn struct{ net.Conn }

func (p pipeConn) CloseWrite() error { return p.Close() }
func (p pipeConn) Abort(error)       { _ = p.Close() }

func TestRelayTimeouts(t *testing.T) {
	for _, c := range []struct {
		name    string
		opt     RelayOptions
		traffic time.Duration // a byte this often, 0 for none
		want    error
		after   time.Duration
	}{
		{"idle", RelayOptions{IdleTimeout: time.Minute}, 0, ErrIdleTimeout, time.Minute},
		{"bytes put idle off", RelayOptions{IdleTimeout: time.Minute, MaxDuration: 10 * time.Minute}, 50 * time.Second, ErrMaxDuration, 10 * time.Minute},
		{"duration", RelayOptions{MaxDuration: time.Hour}, 0, ErrMaxDuration, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				down, app := net.Pipe()
				up, origin := net.Pipe()
				var m Meter
				c.opt.Meter = &m
				go io.Copy(io.Discard, origin) // ends when the relay closes up
				if c.traffic > 0 {
					done := make(chan struct{})
					defer close(done)
					go func() { // ends with the test
						tick := time.NewTicker(c.traffic)
						defer tick.Stop()
						for {
							select {
							case <-tick.C:
								app.Write([]byte("x"))
							case <-done:
								return
							}
						}
					}()
				}
				start := time.Now()
				res := Relay(t.Context(), pipeConn{down}, pipeConn{up}, c.opt)
				if !errors.Is(res.Err, c.want) {
					t.Errorf("ended with %v, want %v", res.Err, c.want)
				}
				if d := time.Since(start).Round(time.Second); d != c.after {
					t.Errorf("ended after %v, want %v", d, c.after)
				}
			})
		})
	}
}

// slowly takes what it was given at a byte a second, of which its writer sees
// nothing.
type slowly struct {
	pipeConn
	from time.Time
	size int
}

func (s slowly) Unsent() int {
	return max(s.size-int(time.Since(s.from)/time.Second), 0)
}

// A peer that reads slowly is not idle, and one that does not read is.
func TestSlowIsNotIdle(t *testing.T) {
	for _, tt := range []struct {
		unread   int // bytes that the peer still reads
		earliest time.Duration
	}{{0, time.Minute}, {300, 6 * time.Minute}} {
		t.Run(fmt.Sprint(tt.unread), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				down, app := net.Pipe()
				up, origin := net.Pipe() // nobody reads: the write never returns
				defer origin.Close()
				start := time.Now()
				go func() { _, _ = app.Write([]byte("x")) }() // ends with the relay
				res := Relay(t.Context(), pipeConn{down}, slowly{pipeConn{up}, start, tt.unread}, RelayOptions{
					Meter: &Meter{}, IdleTimeout: time.Minute,
				})
				if !errors.Is(res.Err, ErrIdleTimeout) {
					t.Errorf("ended with %v", res.Err)
				}
				if d := time.Since(start); d < tt.earliest || d > tt.earliest+time.Minute/2 {
					t.Errorf("ended after %v, want %v, or half a minute more", d, tt.earliest)
				}
			})
		})
	}
}

func BenchmarkRelaySockets(b *testing.B) {
	for name, wrap := range map[string]func(Conn) Conn{"splice": bare, "chunk": chunks, "poll": polled, "copy": plain} {
		b.Run(name, func(b *testing.B) {
			t := &testing.T{}
			r := startRelay(t, wrap, RelayOptions{})
			buf := make([]byte, 128<<10)
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			go io.Copy(io.Discard, r.origin) // ends with the relay
			for range b.N {
				if _, err := r.app.Write(buf); err != nil {
					b.Fatal(err)
				}
			}
			r.cancel(nil)
		})
	}
}
