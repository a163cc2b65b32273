package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"culvert/proxy/network"
)

// tlsConn is a TLS connection after its handshake. It is not an Unwrapper: the
// bytes beneath are not its bytes.
type tlsConn struct {
	// immutable
	tls   *tls.Conn
	wire  *wire
	raw   network.Conn
	state *tls.ConnectionState

	more bool // the last ReadChunk filled its chunk; owned by the reading goroutine

	mu               sync.Mutex
	cause            error // set by the first Abort
	readEnd, sentEnd bool  // close_notify came, was sent
}

// handshake makes a connection of c with the tls.Conn that start makes of what
// it is given. It owns c and aborts it on error.
func handshake(ctx context.Context, c network.Conn, start func(net.Conn) *tls.Conn) (*tlsConn, error) {
	w := newWire(c)
	t := start(w)
	if err := t.HandshakeContext(ctx); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		c.Abort(err)
		return nil, err
	}
	state := t.ConnectionState()
	return &tlsConn{tls: t, wire: w, raw: c, state: &state}, nil
}

// Read returns io.EOF after close_notify only. A transport that ends without
// one is a reset by the peer.
func (c *tlsConn) Read(p []byte) (int, error) {
	n, err := c.tls.Read(p)
	if n > 0 && err != nil {
		err = nil // crypto/tls says it again
	}
	return n, c.readError(err)
}

// ReadChunk waits holding no buffer and returns all the records that are there
// already.
func (c *tlsConn) ReadChunk() (*network.Chunk, error) {
	for {
		size := network.ChunkLarge
		if c.more {
			size = network.ChunkHuge
		}
		chunk := network.NewChunk(size)
		n, err := c.readReady(chunk.Space())
		c.more = n >= network.ChunkLarge
		if n > 0 {
			chunk.Data = chunk.Space()[:n]
			return chunk, nil
		}
		chunk.Release()
		if errors.As(err, new(noWaitError)) {
			err = c.wire.wait()
		}
		if err != nil {
			return nil, c.readError(err)
		}
	}
}

// readReady reads without waiting until p is full or nothing is there. The
// error that ended it is said again by the next read, or is a noWaitError.
func (c *tlsConn) readReady(p []byte) (n int, err error) {
	c.wire.noWait = true
	defer func() { c.wire.noWait = false }()
	for n < len(p) && err == nil {
		var m int
		m, err = c.tls.Read(p[n:])
		n += m
	}
	return n, err
}

// Write encrypts p and writes it at once, however many records it takes.
func (c *tlsConn) Write(p []byte) (int, error) {
	if len(p) <= maxPlaintext {
		n, err := c.tls.Write(p)
		return n, c.writeError(err)
	}
	c.wire.cork(len(p))
	n, err := c.tls.Write(p)
	if flushErr := c.wire.uncork(); err == nil && flushErr != nil {
		n, err = 0, flushErr
	}
	return n, c.writeError(err)
}

// WriteChunk writes the whole chunk.
func (c *tlsConn) WriteChunk(chunk *network.Chunk) error {
	defer chunk.Release()
	_, err := c.Write(chunk.Data)
	return err
}

// CloseWrite sends close_notify; reading goes on (RFC 8446 §6.1).
func (c *tlsConn) CloseWrite() error {
	err := c.tls.CloseWrite()
	c.mu.Lock()
	c.sentEnd = err == nil
	c.mu.Unlock()
	return c.writeError(err)
}

// Abort resets the connection beneath; no close_notify is sent, which would
// tell the peer that all went well.
func (c *tlsConn) Abort(cause error) {
	if cause == nil {
		cause = net.ErrClosed
	}
	c.mu.Lock()
	if c.cause == nil {
		c.cause = cause
	}
	c.mu.Unlock()
	c.raw.Abort(cause)
}

// Close is silent after both directions ended, else an Abort.
func (c *tlsConn) Close() error {
	c.mu.Lock()
	silent := c.readEnd && c.sentEnd && c.cause == nil
	if silent {
		c.cause = net.ErrClosed
	}
	c.mu.Unlock()
	if silent {
		return c.raw.Close()
	}
	c.Abort(nil)
	return nil
}

// readError gives an error of crypto/tls its meaning here.
func (c *tlsConn) readError(err error) error {
	if errors.Is(err, io.EOF) {
		c.mu.Lock()
		c.readEnd = true
		c.mu.Unlock()
		return io.EOF
	}
	return c.writeError(err)
}

// writeError is the cause of an Abort, or a reset for an alert of either side.
func (c *tlsConn) writeError(err error) error {
	if err == nil {
		return nil
	}
	c.mu.Lock()
	cause := c.cause
	c.mu.Unlock()
	if cause != nil {
		return cause
	}
	var op *net.OpError
	if errors.As(err, &op) {
		switch op.Op { // crypto/tls names its alerts so
		case "remote error":
			return &network.ResetError{Remote: true, Err: err}
		case "local error":
			return &network.ResetError{Err: err}
		}
	}
	return err
}

// Unsent is the number of encrypted bytes the peer has not acknowledged; 0 if
// the connection beneath cannot say.
func (c *tlsConn) Unsent() int { return network.Unsent(c.raw) }

// RoundTrip is the transport's.
func (c *tlsConn) RoundTrip() time.Duration { return network.RoundTrip(c.raw) }

func (c *tlsConn) LocalAddr() net.Addr                { return c.raw.LocalAddr() }
func (c *tlsConn) RemoteAddr() net.Addr               { return c.raw.RemoteAddr() }
func (c *tlsConn) SetDeadline(t time.Time) error      { return c.tls.SetDeadline(t) }
func (c *tlsConn) SetReadDeadline(t time.Time) error  { return c.tls.SetReadDeadline(t) }
func (c *tlsConn) SetWriteDeadline(t time.Time) error { return c.tls.SetWriteDeadline(t) }
