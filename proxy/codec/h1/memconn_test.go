package h1_test

import (
	"io"
	"net"
	"os"
	"sync"
	"time"

	"culvert/proxy/network"
)

// memConn is one end of a connection in memory, for tests with a clock of their
// own. What was written before an end is read before it.
type memConn struct {
	mu   *sync.Mutex
	cond *sync.Cond
	in   *memHalf
	out  *memHalf
	by   time.Time // read deadline
}

type memHalf struct {
	buf []byte
	eof bool
	err error
}

// memLimit is what a direction holds, bytes.
const memLimit = 64 << 10

func memPair() (a, b *memConn) {
	mu := new(sync.Mutex)
	cond := sync.NewCond(mu)
	x, y := new(memHalf), new(memHalf)
	return &memConn{mu: mu, cond: cond, in: x, out: y}, &memConn{mu: mu, cond: cond, in: y, out: x}
}

func (c *memConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case !c.by.IsZero() && !time.Now().Before(c.by):
			return 0, os.ErrDeadlineExceeded
		case len(c.in.buf) > 0:
			n := copy(p, c.in.buf)
			c.in.buf = c.in.buf[n:]
			c.cond.Broadcast()
			return n, nil
		case c.in.eof:
			return 0, io.EOF
		case c.in.err != nil:
			return 0, c.in.err
		}
		c.cond.Wait()
	}
}

func (c *memConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for sent := 0; ; {
		switch room := memLimit - len(c.out.buf); {
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

func (c *memConn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.eof = true
	c.cond.Broadcast()
	return nil
}

func (c *memConn) Abort(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cause == nil {
		cause = net.ErrClosed
	}
	for _, h := range []*memHalf{c.in, c.out} {
		if h.err == nil {
			h.err = &network.ResetError{Remote: true, Err: cause}
		}
	}
	c.cond.Broadcast()
}

func (c *memConn) Close() error {
	c.mu.Lock()
	done := c.out.eof && c.in.eof && len(c.in.buf) == 0
	c.mu.Unlock()
	if !done {
		c.Abort(nil)
	}
	return nil
}

func (c *memConn) SetReadDeadline(t time.Time) error {
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

func (c *memConn) SetWriteDeadline(time.Time) error { return nil }
func (c *memConn) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *memConn) LocalAddr() net.Addr              { return network.InternalAddress("here", "") }
func (c *memConn) RemoteAddr() net.Addr             { return network.InternalAddress("there", "") }

var _ network.Conn = (*memConn)(nil)
