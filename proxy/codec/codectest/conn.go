package codectest

import (
	"io"
	"net"
	"os"
	"sync"
	"time"

	"culvert/proxy/network"
)

// Conn is one end of a connection in memory. What was written before an end or a
// reset is read before it. Frozen, it takes nothing and gives nothing, like a peer
// that lost power.
type Conn struct {
	mu   *sync.Mutex
	cond *sync.Cond
	in   *half
	out  *half
	by   time.Time // read deadline
}

// half is a direction; guarded by the pair's mu.
type half struct {
	buf    []byte
	eof    bool
	err    error
	frozen bool
}

// limit is what a direction holds, bytes.
const limit = 64 << 10

// Pair is a connection's two ends. Nothing of it needs to be closed.
func Pair() (a, b *Conn) {
	mu := new(sync.Mutex)
	cond := sync.NewCond(mu)
	x, y := new(half), new(half)
	return &Conn{mu: mu, cond: cond, in: x, out: y}, &Conn{mu: mu, cond: cond, in: y, out: x}
}

// Read waits for bytes, an end, or the read deadline.
func (c *Conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case !c.by.IsZero() && !time.Now().Before(c.by):
			return 0, os.ErrDeadlineExceeded
		case len(c.in.buf) > 0 && !c.in.frozen:
			n := copy(p, c.in.buf)
			c.in.buf = c.in.buf[n:]
			c.cond.Broadcast()
			return n, nil
		case c.in.err != nil:
			return 0, c.in.err
		case c.in.eof:
			return 0, io.EOF
		}
		c.cond.Wait()
	}
}

// Write waits for room. It knows no deadline.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for sent := 0; ; {
		switch room := limit - len(c.out.buf); {
		case c.out.err != nil:
			return sent, c.out.err
		case c.out.eof:
			return sent, net.ErrClosed
		case sent == len(p):
			return sent, nil
		case room > 0:
			n := min(room, len(p)-sent)
			c.out.buf = append(c.out.buf, p[sent:sent+n]...)
			sent += n
			c.cond.Broadcast()
			continue
		}
		c.cond.Wait()
	}
}

// Freeze stops everything in both directions, for good.
func (c *Conn) Freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in.frozen, c.out.frozen = true, true
}

// CloseWrite ends our direction.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.eof = true
	c.cond.Broadcast()
	return nil
}

// Abort resets both directions; either end sees it as the other's.
func (c *Conn) Abort(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cause == nil {
		cause = net.ErrClosed
	}
	for _, h := range []*half{c.in, c.out} {
		if h.err == nil {
			h.err = &network.ResetError{Remote: true, Err: cause}
		}
	}
	c.cond.Broadcast()
}

// Close is an abort, unless both directions have ended and all is read.
func (c *Conn) Close() error {
	c.mu.Lock()
	done := c.out.eof && c.in.eof && len(c.in.buf) == 0
	c.mu.Unlock()
	if !done {
		c.Abort(nil)
	}
	return nil
}

// SetReadDeadline wakes readers when it is over.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by = t
	c.cond.Broadcast()
	if d := time.Until(t); !t.IsZero() && d > 0 {
		time.AfterFunc(d, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.cond.Broadcast()
		})
	}
	return nil
}

// SetWriteDeadline is of no effect.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline is SetReadDeadline.
func (c *Conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// LocalAddr is of no host.
func (c *Conn) LocalAddr() net.Addr { return network.InternalAddress("here", "") }

// RemoteAddr is of no host.
func (c *Conn) RemoteAddr() net.Addr { return network.InternalAddress("there", "") }

var _ network.Conn = (*Conn)(nil)
