package h1

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// stream is one exchange, in either role.
type stream struct {
	// immutable
	c      *conn
	id     uint64
	head   *codec.Request
	tunnel bool // asks for one: nothing but the answer makes bytes of it
	base   context.Context
	proto  codec.Proto
	wire   *network.WireMeter
	// draining asks whether the connection is (server).
	draining func() bool

	in body // belongs to the reader

	writing sync.Mutex // orders the users of our direction
	out     framing    // guarded by writing; length is what is still to be sent

	// guarded by mu
	mu       sync.Mutex
	expect   bool // the client waits for a 100 (server)
	answered bool // the final head is sent (server) or read (client)
	switched bool // the tunnel is up
	sendEnd  bool
	sendErr  error
	recvEnd  bool // the peer's message is over, read or not
	recvErr  error
	eofRead  bool
	trailers codec.Fields
	last     bool  // the connection ends behind this exchange
	aborted  bool  // Reset has ended the connection
	woke     bool  // Reset has woken the reader
	cause    error // what everything answers, once we are done with it
	released bool
	over     error // cause of ctx, once it is over
	ctx      context.Context
	ctxEnd   context.CancelCauseFunc
	watched  bool
}

// ID counts the exchanges of the connection, from 1.
func (st *stream) ID() uint64 { return st.id }

// ConnectionID is Config.ConnectionID.
func (st *stream) ConnectionID() uint64 { return st.c.cfg.ConnectionID }

// Proto is the version of the request (server), HTTP11 (client).
func (st *stream) Proto() codec.Proto { return st.proto }

// LocalAddress is the connection's.
func (st *stream) LocalAddress() network.Address { return st.c.local }

// RemoteAddress is the connection's.
func (st *stream) RemoteAddress() network.Address { return st.c.remote }

// Request is the request's head.
func (st *stream) Request() *codec.Request { return st.head }

// Wire counts the exchange's bytes on the connection, but for a tunnel's payload.
func (st *stream) Wire() *network.WireMeter { return st.wire }

// PeerEnded reports whether all of the peer's message has come, as far as it has
// been looked at.
func (st *stream) PeerEnded() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.recvEnd
}

// wroteHead counts n bytes of a head that were sent.
func (st *stream) wroteHead(n int) {
	st.wire.Sent(n)
	st.wire.HeaderSent(n)
}

// payloadFollows: what comes and goes from here on is no message's.
func (st *stream) payloadFollows() {
	st.c.in.charge(nil)
	st.wire.Raw()
}

// Unsent is what the peer has not acknowledged; 0 where the connection cannot
// tell.
func (st *stream) Unsent() int { return network.Unsent(st.c.nc) }

// Read returns what has arrived of the body or the payload, io.EOF at its end,
// or why there is no more. A tunnel's payload is nobody's before the answer.
func (st *stream) Read(p []byte) (int, error) {
	if err := st.readErr(); err != nil || len(p) == 0 {
		return 0, err
	}
	n, err := st.in.read(p)
	return n, st.didRead(err)
}

// ReadChunk is Read without a copy where what has arrived fills a chunk.
func (st *stream) ReadChunk() (*network.Chunk, error) {
	if err := st.readErr(); err != nil {
		return nil, err
	}
	c, err := st.in.readChunk()
	return c, st.didRead(err)
}

// readErr is why nothing can be read now; nil if something can.
func (st *stream) readErr() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.cause != nil:
		return st.cause
	case st.recvErr != nil:
		return st.recvErr
	case st.tunnel && st.c.server && st.answered && !st.switched:
		return io.EOF // refused: what the client goes on to send is not read
	case st.tunnel && !st.answered:
		return errNotAnswered
	case !st.c.server && !st.answered:
		return errNoResponseHead
	}
	return nil
}

// didRead notes what a read has found, and gives its error its meaning.
func (st *stream) didRead(err error) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.in.over() && !st.recvEnd {
		st.recvEnd = true
		st.watchLocked()
	}
	switch {
	case err == nil:
		return nil
	case st.cause != nil:
		return st.cause
	case errors.Is(err, io.EOF):
		st.eofRead, st.trailers = true, st.in.trailers
		st.overIfEndedLocked()
		return io.EOF
	case errors.Is(err, os.ErrDeadlineExceeded):
		return err
	}
	err = st.loseLocked(err)
	return err
}

// loseLocked ends the peer's direction badly: a malformed message counts as a
// reset by whoever sent it.
func (st *stream) loseLocked(err error) error {
	if errors.As(err, new(*MessageError)) {
		err = lost(err)
	}
	st.recvErr = err
	st.last = true
	st.overLocked(err)
	return err
}

// Trailers are the peer's, after Read returned io.EOF.
func (st *stream) Trailers() codec.Fields {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.trailers
}

// SetReadDeadline bounds Read, ReadChunk and ReadResponse.
func (st *stream) SetReadDeadline(t time.Time) error { return st.c.clock.set(t) }

// SetWriteDeadline bounds what is written. A message that was interrupted by
// one in the middle of what frames it cannot go on.
func (st *stream) SetWriteDeadline(t time.Time) error { return st.c.nc.SetWriteDeadline(t) }

// Context ends when the stream does; its cause says how: codec.ErrEnded once
// both directions are over and the peer's is read to its end. From the first
// call on, a server's stream notices a client that leaves while nothing of the
// request is left to read, or nobody has read what comes next of it.
func (st *stream) Context() context.Context {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.ctx == nil {
		st.ctx, st.ctxEnd = context.WithCancelCause(st.base)
		if st.over != nil {
			st.ctxEnd(st.over)
		}
		st.watchLocked()
	}
	return st.ctx
}

// watchLocked starts the watcher of a client that has said all it has to say, or
// has not been listened to yet.
func (st *stream) watchLocked() {
	done := st.recvEnd || !st.answered
	if !st.c.server || st.ctx == nil || st.over != nil || st.watched || !done {
		return
	}
	st.watched = true
	st.c.wg.Go(st.watch) // ends with the next bytes, or with the connection
}

// watch waits for the client to leave. Bytes end the watch: they are the
// payload's first, the body's, or the next request. Of a body there may be
// another watch, once it is read to its end.
func (st *stream) watch() {
	for whole := false; ; {
		err := st.c.in.watch()
		if err != nil {
			st.watchFailed(err)
			return
		}
		st.mu.Lock()
		if whole || st.tunnel || !st.recvEnd {
			st.watched = whole || st.tunnel
			st.mu.Unlock()
			return
		}
		whole = true
		st.mu.Unlock()
	}
}

// watchFailed notes that the client has left, if err says so.
func (st *stream) watchFailed(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if errors.Is(err, io.EOF) {
		if st.switched || st.c.cfg.AllowHalfClose {
			return // half-closed, which is for the reader to find
		}
		err = lost(ErrLeft)
	}
	st.last = true
	st.overLocked(err)
}

// overIfEndedLocked ends the context once our direction is ended and the peer's
// has been read to its end.
func (st *stream) overIfEndedLocked() {
	if st.sendEnd && st.eofRead {
		st.overLocked(codec.ErrEnded)
	}
}

// overLocked ends Context with cause.
func (st *stream) overLocked(cause error) {
	if st.over == nil {
		st.over = cause
		if st.ctxEnd != nil {
			st.ctxEnd(cause)
		}
	}
}
