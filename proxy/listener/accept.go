package listener

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"culvert/proxy/network"
)

// Accept waits so long when descriptors or memory are short, doubling: the next
// call would fail at once and the loop would spin.
const (
	minBackoff = 5 * time.Millisecond
	maxBackoff = time.Second
)

// complainEvery is how often the log says that accepting fails, or that what is
// accepted is too much.
const complainEvery = 10 * time.Second

// Serve accepts the connections of a kernel socket and serves each to its end.
// It returns when ln is closed, or ctx has ended (which closes ln and aborts
// what is left), and every connection is over: closing ln alone is the drain.
// The error is why accepting failed, nil for either ending.
func (l *Listener) Serve(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	var conns sync.WaitGroup
	defer conns.Wait()
	complaints := network.Seldom{Every: complainEvery}
	backoff := minBackoff
	for {
		c, err := ln.Accept()
		switch {
		case err == nil:
			backoff = minBackoff
			conns.Go(func() { l.serveConn(ctx, c, &complaints) }) // ends with the connection, or with ctx
		case errors.Is(err, net.ErrClosed):
			return nil
		case isPassing(err):
			if suppressed, ok := complaints.Allow("accept"); ok {
				l.deps.Log.Warn("accept", "listener", l.name, "err", err, "suppressed", suppressed)
			}
			if !sleep(ctx, backoff) {
				return nil
			}
			backoff = min(2*backoff, maxBackoff)
		default:
			return fmt.Errorf("listener %q: %w", l.name, err)
		}
	}
}

// isPassing reports what a later accept may not meet: shortages, a peer that
// left the queue, and errors that belong to the connection that waited and not
// to the socket (accept(2): "treat them like EAGAIN by retrying"; EPERM is a
// firewall's).
func isPassing(err error) bool {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	switch errno {
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.EINTR, syscall.EPERM,
		syscall.ENETDOWN, syscall.EPROTO, syscall.ENOPROTOOPT, syscall.EHOSTDOWN, syscall.ENONET,
		syscall.EHOSTUNREACH, syscall.EOPNOTSUPP, syscall.ENETUNREACH:
		return true
	}
	return false
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// serveConn makes a flow of a connection and serves it.
func (l *Listener) serveConn(ctx context.Context, c net.Conn, complaints *network.Seldom) {
	if l.overloaded(ctx, complaints) {
		_ = c.Close()
		return
	}
	if l.deps.Admit != nil {
		release, ok := l.deps.Admit()
		if !ok {
			l.n.overflow.Inc()
			_ = c.Close()
			if suppressed, ok := complaints.Allow("limit"); ok {
				l.deps.Log.Warn("connections beyond the limit are closed", "listener", l.name, "suppressed", suppressed)
			}
			return
		}
		defer release()
	}
	f, err := newSocketFlow(ctx, c, l.deps.Flows.NextID())
	if err != nil {
		l.deps.Log.Error("accepted connection", "listener", l.name, "error", err)
		_ = c.Close()
		return
	}
	l.deps.Flows.Add(f.info)
	defer l.deps.Flows.Remove(f.info)
	err = l.ServeFlow(ctx, f)
	f.over()
	l.deps.Log.Debug("connection ended", "listener", l.name, "conn", f.info.ID, "error", err)
}

// overloaded waits until there is room for a connection; true: there is none.
func (l *Listener) overloaded(ctx context.Context, complaints *network.Seldom) bool {
	if l.deps.Await == nil || !errors.Is(l.deps.Await(ctx), network.ErrOverload) {
		return false
	}
	l.n.overloaded.Inc()
	if suppressed, ok := complaints.Allow("overload"); ok {
		l.deps.Log.Warn("connections are closed: memory is short", "listener", l.name, "suppressed", suppressed)
	}
	return true
}

var errOver = network.WithReason(network.ReasonCanceled, errors.New("flow is over"))
