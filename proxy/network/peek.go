package network

import (
	"context"
	"errors"
	"io"
	"syscall"
	"time"
)

// PeekLimit is how many bytes may be read ahead of a connection before it is
// known what they are: a ClientHello of 64 KiB, the largest that any filter
// asks for, and a header in front of it. Bytes.
const PeekLimit = 80 << 10

// ErrPeekLimit is a look further ahead than PeekLimit.
var ErrPeekLimit = errors.New("more bytes than may be read ahead")

// Peek looks at the first bytes of a connection and gives them back. It belongs
// to one goroutine. A flow is accepted when its first byte is wanted, not
// before, and Info then says AcceptedEarly.
type Peek struct {
	flow  Flow // nil for a connection
	conn  Conn // nil: not accepted yet
	info  *StreamInfo
	ahead []byte
	err   error // why no more can be read; sticky
}

// NewPeek looks at the connection of a flow that may not be accepted yet.
func NewPeek(f Flow) *Peek { return &Peek{flow: f, info: f.Info()} }

// PeekConn looks at a connection. info may be nil.
func PeekConn(c Conn, info *StreamInfo) *Peek { return &Peek{conn: c, info: info} }

// Info describes the flow; whoever looks may write to it.
func (p *Peek) Info() *StreamInfo { return p.info }

// Socket is the kernel's socket beneath, for its options; false if there is
// none, or none can be had before the flow is accepted.
func (p *Peek) Socket() (syscall.RawConn, bool) {
	var s syscall.Conn
	ok := false
	switch {
	case p.conn != nil:
		s, ok = Beneath[syscall.Conn](p.conn)
	default:
		s, ok = p.flow.(syscall.Conn)
	}
	if !ok {
		return nil, false
	}
	raw, err := s.SyscallConn()
	return raw, err == nil
}

// Ahead waits until n bytes are there and returns all that are, which may be
// more. They stay; the slice is good until the next call. When the peer ends
// sooner the error is io.EOF and what there is comes with it. When ctx ends,
// the error is its cause, and the connection is as it was: a later look goes
// on.
func (p *Peek) Ahead(ctx context.Context, n int) ([]byte, error) {
	if n > PeekLimit {
		return p.ahead, ErrPeekLimit
	}
	if len(p.ahead) < n {
		if err := p.accept(ctx); err != nil {
			return p.ahead, err
		}
	}
	for len(p.ahead) < n {
		if p.err != nil {
			return p.ahead, p.err
		}
		if err := p.read(ctx, n); err != nil {
			return p.ahead, err
		}
	}
	return p.ahead, nil
}

func (p *Peek) accept(ctx context.Context) error {
	if p.conn != nil {
		return nil
	}
	c, err := p.flow.Accept(ctx)
	if err != nil {
		p.err = WithReason(ReasonCanceled, err)
		return p.err
	}
	p.conn = c
	p.info.AcceptedEarly = true
	return nil
}

// read reads once, toward n bytes in all.
func (p *Peek) read(ctx context.Context, n int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = p.conn.SetReadDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	room := max(n-len(p.ahead), peekStep)
	buf := append(p.ahead, make([]byte, min(room, PeekLimit-len(p.ahead)))...)
	m, err := p.conn.Read(buf[len(p.ahead):])
	p.ahead = buf[:len(p.ahead)+m]
	if !stop() {
		<-interrupted
		_ = p.conn.SetReadDeadline(time.Time{})
		if m == 0 {
			return context.Cause(ctx)
		}
		return nil
	}
	if err != nil {
		p.err = err
	}
	return nil
}

// peekStep is how many bytes are read at least, if they are there.
const peekStep = 2 << 10

// Discard drops the first n bytes for good: a header that is understood.
func (p *Peek) Discard(n int) { p.ahead = p.ahead[n:] }

// Conn ends the look: the connection, whose first bytes are those that were
// read ahead and not discarded. False if nothing was read, and the flow is
// still unanswered.
func (p *Peek) Conn() (Conn, bool) {
	switch {
	case p.conn == nil:
		return nil, false
	case len(p.ahead) == 0 && (p.err == nil || p.err == io.EOF):
		return p.conn, true
	}
	return &peekedConn{Conn: p.conn, ahead: p.ahead, err: p.err}, true
}

// peekedConn is a connection some of whose bytes were read ahead. Reads give
// these first, then the error that followed them, if one did.
type peekedConn struct {
	Conn

	// owned by the reading goroutine
	ahead []byte
	err   error
}

// Read implements Conn.
func (c *peekedConn) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 && len(p) > 0 {
		n := copy(p, c.ahead)
		c.took(n)
		return n, nil
	}
	if c.err != nil {
		return 0, c.err
	}
	return c.Conn.Read(p)
}

func (c *peekedConn) took(n int) {
	if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
		c.ahead = nil
	}
}

// ReadChunk implements ChunkReader, also where the connection beneath does not.
func (c *peekedConn) ReadChunk() (*Chunk, error) {
	if len(c.ahead) == 0 && c.err == nil {
		if r, ok := Beneath[ChunkReader](c.Conn); ok {
			return r.ReadChunk()
		}
	}
	chunk := NewChunk(ChunkMedium)
	n, err := c.Read(chunk.Space())
	if n == 0 {
		chunk.Release()
		if err == nil {
			err = io.ErrNoProgress
		}
		return nil, err
	}
	chunk.Data = chunk.Space()[:n] // an error that came with bytes comes again
	return chunk, nil
}

// WriteChunk implements ChunkWriter.
func (c *peekedConn) WriteChunk(chunk *Chunk) error {
	if w, ok := Beneath[ChunkWriter](c.Conn); ok {
		return w.WriteChunk(chunk)
	}
	defer chunk.Release()
	_, err := c.Write(chunk.Data)
	return err
}

// Unsent implements SendQueue; 0 where the connection beneath cannot say.
func (c *peekedConn) Unsent() int { return Unsent(c.Conn) }

// RoundTrip is the connection's.
func (c *peekedConn) RoundTrip() time.Duration { return RoundTrip(c.Conn) }

// Unwrap is the connection beneath once nothing read ahead is left. Before, it
// is the same bytes without a way around them.
func (c *peekedConn) Unwrap() Conn {
	if len(c.ahead) == 0 && c.err == nil {
		return c.Conn
	}
	return opaqueConn{c}
}

// opaqueConn is a Conn and nothing else.
type opaqueConn struct{ Conn }
