package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/test/peer"
)

const (
	// elephants is how many flows go as fast as they can, in each direction, and
	// elephantBytes what one carries before it ends and another comes.
	elephants     = 2
	elephantBytes = 1 << 30
	// mouseEvery is how often a mouse comes. At a fixed rate, so that what mice
	// cost is not mistaken for what bytes cost.
	mouseEvery = 10 * time.Millisecond
	// idlers are flows that only are there.
	idlers = 200
	// patience is with anything that a flow waits for.
	patience = time.Minute
)

// request and answer are a mouse's.
var request, answer = peer.Stream{Seed: 1, Size: 300}, peer.Stream{Seed: 2, Size: 8000}

// load is the mixed load of a run.
type load struct {
	t       *testing.T
	w       *world
	moved   atomic.Int64 // payload bytes of elephants that have arrived
	mice    atomic.Int64
	failed  atomic.Int64
	stop    context.CancelFunc
	running sync.WaitGroup // ends with stop
}

// start begins it; end ends it.
func start(t *testing.T, w *world) *load {
	ctx, stop := context.WithCancel(t.Context())
	l := &load{t: t, w: w, stop: stop}
	peer.Serve(t, w.listen(downPort), func(_ context.Context, c net.Conn) error {
		defer c.Close()
		_, err := io.CopyN(c, zeros{}, elephantBytes)
		return err
	})
	peer.Serve(t, w.listen(upPort), func(_ context.Context, c net.Conn) error {
		defer c.Close()
		_, err := io.Copy(l.counted(), c)
		return err
	})
	peer.Serve(t, w.listen(micePort), peer.ReceiveFirst(request, answer))
	peer.Serve(t, w.listen(idlePort), peer.Echo())
	for range idlers {
		l.running.Go(func() { l.idle(ctx) })
	}
	for range elephants {
		l.running.Go(func() { l.again(ctx, l.download) })
		l.running.Go(func() { l.again(ctx, l.upload) })
	}
	l.running.Go(func() { l.breed(ctx) })
	return l
}

// end returns when nothing runs.
func (l *load) end() {
	l.stop()
	l.running.Wait()
}

func (l *load) complain(what string, err error) {
	if l.failed.Add(1) <= 10 { // the rest is more of the same
		l.t.Errorf("%s: %v", what, err)
	}
}

// dial is how an application connects; the connection is closed with ctx.
func (l *load) dial(ctx context.Context, port string) (net.Conn, func(), error) {
	c, err := l.w.app.DialContext(ctx, "tcp", net.JoinHostPort(originAddress, port))
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { peer.Reset(c) })
	return c, func() { stop(); _ = c.Close() }, nil
}

// again runs one flow after the other until ctx ends.
func (l *load) again(ctx context.Context, flow func(context.Context) error) {
	for ctx.Err() == nil {
		if err := flow(ctx); err != nil && ctx.Err() == nil {
			l.complain("elephant", err)
			return
		}
	}
}

func (l *load) download(ctx context.Context) error {
	c, done, err := l.dial(ctx, downPort)
	if err != nil {
		return err
	}
	defer done()
	n, err := io.Copy(l.counted(), onlyReader{c})
	if err == nil && n != elephantBytes {
		err = fmt.Errorf("%d bytes of %d", n, elephantBytes)
	}
	return err
}

func (l *load) upload(ctx context.Context) error {
	c, done, err := l.dial(ctx, upPort)
	if err != nil {
		return err
	}
	defer done()
	if _, err := io.CopyN(onlyWriter{c}, zeros{}, elephantBytes); err != nil {
		return err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, c) // the origin's end
	return err
}

// breed lets mice come.
func (l *load) breed(ctx context.Context) {
	var mice sync.WaitGroup
	defer mice.Wait()
	tick := time.NewTicker(mouseEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		mice.Go(func() { // ends with its exchange, or with ctx
			if err := l.mouse(ctx); err != nil && ctx.Err() == nil {
				l.complain("mouse", err)
			}
			l.mice.Add(1)
		})
	}
}

func (l *load) mouse(ctx context.Context) error {
	one, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, done, err := l.dial(one, micePort)
	if err != nil {
		return err
	}
	defer done()
	return peer.SendFirst(request, answer)(one, c)
}

// idle is a flow that says a word now and then.
func (l *load) idle(ctx context.Context) {
	c, done, err := l.dial(ctx, idlePort)
	if err != nil {
		l.complain("idle flow", err)
		return
	}
	defer done()
	tick := time.NewTicker(patience / 2)
	defer tick.Stop()
	for {
		b := []byte{'x'}
		_, err := c.Write(b)
		if err == nil {
			_, err = io.ReadFull(c, b)
		}
		if err != nil && ctx.Err() == nil {
			l.complain("idle flow", err)
		}
		if err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (l *load) counted() io.Writer { return &counter{n: &l.moved} }

// counter counts what is written to it.
type counter struct {
	n   *atomic.Int64
	buf []byte
}

func (c *counter) Write(b []byte) (int, error) { c.n.Add(int64(len(b))); return len(b), nil }

// ReadFrom reads in large pieces: what receives shall cost little.
func (c *counter) ReadFrom(r io.Reader) (total int64, err error) {
	c.buf = make([]byte, 256<<10)
	for {
		n, err := r.Read(c.buf)
		c.n.Add(int64(n))
		total += int64(n)
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// zeros have no end. They are read in large pieces, too.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// onlyReader and onlyWriter hide what would choose a buffer of its own.
type onlyReader struct{ io.Reader }
type onlyWriter struct{ io.Writer }
