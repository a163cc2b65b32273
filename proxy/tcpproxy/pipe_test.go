package tcpproxy

import (
	"io"
	"net"
	"os"
	"sync"
	"time"

	"culvert/proxy/network"
)

// pipeEnd is one end of an in-memory connection with two directions that end
// on their own. It works within a synctest bubble.
type pipeEnd struct {
	in, out *half
}

type half struct {
	mu     sync.Mutex
	ready  *sync.Cond
	buf    []byte
	closed bool
	err    error
	late   bool // the read deadline has passed
}

func newHalf() *half {
	h := &half{}
	h.ready = sync.NewCond(&h.mu)
	return h
}

func newPipe() (a, b *pipeEnd) {
	x, y := newHalf(), newHalf()
	a, b = &pipeEnd{in: x, out: y}, &pipeEnd{in: y, out: x}

	return a, b
}

func (p *pipeEnd) Read(b []byte) (int, error) {
	h := p.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.buf) == 0 && !h.closed && h.err == nil && !h.late {
		h.ready.Wait()
	}
	if len(h.buf) > 0 {
		n := copy(b, h.buf)
		h.buf = h.buf[n:]
		return n, nil
	}
	if h.err != nil {
		return 0, h.err
	}
	if !h.closed {
		return 0, os.ErrDeadlineExceeded
	}
	return 0, io.EOF
}

func (p *pipeEnd) Write(b []byte) (int, error) {
	h := p.out
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return 0, h.err
	}
	h.buf = append(h.buf, b...)
	h.ready.Broadcast()
	return len(b), nil
}

func (h *half) end(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.closed = true
	} else if h.err == nil && !h.closed {
		h.err = err
	}
	h.ready.Broadcast()
}

func (p *pipeEnd) CloseWrite() error { p.out.end(nil); return nil }

func (p *pipeEnd) Abort(cause error) {
	p.in.end(&network.ResetError{Err: cause})
	p.out.end(&network.ResetError{Remote: true, Err: cause})
}

// Close is silent if both directions have ended.
func (p *pipeEnd) Close() error { p.Abort(net.ErrClosed); return nil }

func (p *pipeEnd) LocalAddr() net.Addr         { return network.PipeAddress("a") }
func (p *pipeEnd) RemoteAddr() net.Addr        { return network.PipeAddress("b") }
func (p *pipeEnd) SetDeadline(time.Time) error { return nil }

// SetReadDeadline knows the past and never.
func (p *pipeEnd) SetReadDeadline(t time.Time) error {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	p.in.late = !t.IsZero()
	p.in.ready.Broadcast()
	return nil
}

func (p *pipeEnd) SetWriteDeadline(time.Time) error { return nil }
