package internallisteners

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"culvert/proxy/network"
)

// DefaultPipeSize is Envoy's buffer_size_kb of an internal listener, in bytes.
const DefaultPipeSize = 1 << 20

// errPipeClosed is a pipe end that was closed while a direction was still open.
var errPipeClosed = errors.New("closed")

// NewPipe makes a connection in memory, for those who write bytes themselves
// over an internal connection: an HTTP codec, a transport socket. Each direction
// holds at most size bytes (0: DefaultPipeSize) and then makes its writer wait;
// each ends on its own, and a reset arrives after the bytes before it. The
// addresses are the client's and the server's own.
func NewPipe(size int, client, server network.Address) (clientEnd, serverEnd network.Conn) {
	if size <= 0 {
		size = DefaultPipeSize
	}
	up, down := newHalf(size), newHalf(size)
	return &pipeEnd{in: down, out: up, local: client, remote: server},
		&pipeEnd{in: up, out: down, local: server, remote: client}
}

// half is one direction: a bounded queue of chunks, one reader, one writer.
type half struct {
	size int

	mu     sync.Mutex
	queue  []*network.Chunk
	held   int           // bytes in queue
	end    error         // nil while open; io.EOF or a reset once the writer ended it
	closed error         // why nobody reads any more; what is written then is lost
	change chan struct{} // closed at each change that somebody may wait for
}

func newHalf(size int) *half { return &half{size: size, change: make(chan struct{})} }

func (h *half) changedLocked() {
	close(h.change)
	h.change = make(chan struct{})
}

// pop waits for a chunk, or for the end behind the last one.
func (h *half) pop(d *network.Deadline) (*network.Chunk, error) {
	for {
		h.mu.Lock()
		if h.closed != nil {
			defer h.mu.Unlock()
			return nil, h.closed
		}
		if len(h.queue) > 0 {
			defer h.mu.Unlock()
			c := h.queue[0]
			h.queue[0] = nil
			h.queue = h.queue[1:]
			h.held -= len(c.Data)
			h.changedLocked()
			return c, nil
		}
		if h.end != nil {
			defer h.mu.Unlock()
			return nil, h.end
		}
		change := h.change
		h.mu.Unlock()
		select {
		case <-change:
		case <-d.Passed():
			return nil, os.ErrDeadlineExceeded
		}
	}
}

// putBack returns the unread rest of the chunk popped last.
func (h *half) putBack(c *network.Chunk) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed != nil {
		c.Release()
		return
	}
	h.queue = append([]*network.Chunk{c}, h.queue...)
	h.held += len(c.Data)
}

// push waits for room and takes the chunk, also on error. A chunk may exceed
// the bound by itself: the bound is soft, as Envoy's watermarks are.
func (h *half) push(c *network.Chunk, d *network.Deadline) error {
	for {
		h.mu.Lock()
		switch {
		case h.closed != nil:
			defer h.mu.Unlock()
			c.Release()
			return &network.ResetError{Remote: true, Err: h.closed}
		case h.end != nil:
			defer h.mu.Unlock()
			c.Release()
			return net.ErrClosed
		case h.held < h.size:
			defer h.mu.Unlock()
			h.queue = append(h.queue, c)
			h.held += len(c.Data)
			h.changedLocked()
			return nil
		}
		change := h.change
		h.mu.Unlock()
		select {
		case <-change:
		case <-d.Passed():
			c.Release()
			return os.ErrDeadlineExceeded
		}
	}
}

// finish ends the direction from the writer's side: io.EOF, or a reset.
func (h *half) finish(end error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.end == nil {
		h.end = end
		h.changedLocked()
	}
}

// stopReading drops what is queued and will come.
func (h *half) stopReading(why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed != nil {
		return
	}
	h.closed = why
	for _, c := range h.queue {
		c.Release()
	}
	h.queue, h.held = nil, 0
	h.changedLocked()
}

// over reports that the writer has ended it and the reader has seen that.
func (h *half) over() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.end != nil && len(h.queue) == 0
}

// ended reports that the writer has ended it.
func (h *half) ended() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.end != nil
}

// unread is the number of bytes queued.
func (h *half) unread() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held
}

// pipeEnd is one end of a pipe.
type pipeEnd struct {
	in, out         *half
	local, remote   network.Address
	readBy, writeBy network.Deadline
}

// ReadChunk waits holding no buffer.
func (p *pipeEnd) ReadChunk() (*network.Chunk, error) { return p.in.pop(&p.readBy) }

// WriteChunk moves a chunk to the other end without copying it.
func (p *pipeEnd) WriteChunk(c *network.Chunk) error {
	if len(c.Data) == 0 {
		c.Release()
		return nil
	}
	return p.out.push(c, &p.writeBy)
}

// Unsent is the number of bytes the other end has not read.
func (p *pipeEnd) Unsent() int { return p.out.unread() }

func (p *pipeEnd) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	c, err := p.in.pop(&p.readBy)
	if err != nil {
		return 0, err
	}
	n := copy(b, c.Data)
	if n < len(c.Data) {
		c.Data = c.Data[n:]
		p.in.putBack(c)
		return n, nil
	}
	c.Release()
	return n, nil
}

func (p *pipeEnd) Write(b []byte) (int, error) {
	written := 0
	for len(b) > 0 {
		c := network.NewChunk(min(len(b), p.out.size))
		n := copy(c.Space()[:min(len(c.Space()), p.out.size)], b)
		c.Data = c.Space()[:n]
		if err := p.out.push(c, &p.writeBy); err != nil {
			return written, err
		}
		written += n
		b = b[n:]
	}
	return written, nil
}

// CloseWrite: the other end reads EOF after what was written.
func (p *pipeEnd) CloseWrite() error {
	p.out.finish(io.EOF)
	return nil
}

// Abort: the other end reads the cause, as a reset, after what was written.
func (p *pipeEnd) Abort(cause error) {
	if cause == nil {
		cause = errPipeClosed
	}
	p.out.finish(&network.ResetError{Remote: true, Err: cause})
	p.in.stopReading(&network.ResetError{Err: cause})
}

// Close is silent after both directions ended, else an Abort.
func (p *pipeEnd) Close() error {
	if p.out.ended() && p.in.over() {
		p.in.stopReading(net.ErrClosed)
		return nil
	}
	p.Abort(errPipeClosed)
	return nil
}

func (p *pipeEnd) LocalAddr() net.Addr  { return p.local }
func (p *pipeEnd) RemoteAddr() net.Addr { return p.remote }

func (p *pipeEnd) SetDeadline(t time.Time) error {
	p.readBy.Set(t)
	p.writeBy.Set(t)
	return nil
}

func (p *pipeEnd) SetReadDeadline(t time.Time) error {
	p.readBy.Set(t)
	return nil
}

func (p *pipeEnd) SetWriteDeadline(t time.Time) error {
	p.writeBy.Set(t)
	return nil
}
