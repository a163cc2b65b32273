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

// half is one direction: a bounded queue of chunks, one reader, one writer. Its
// bound is on what the chunks occupy, since a large buffer may carry one byte.
type half struct {
	size int

	mu     sync.Mutex
	queue  []*network.Chunk
	tail   *network.Chunk // the last of queue, if write made it and may fill it; else nil
	room   int            // bytes that the chunks in queue occupy
	held   int            // bytes in them
	end    error          // nil while open; io.EOF or a reset once the writer ended it
	over   error          // what its own writer is told after end
	closed error          // why nobody reads any more; what is written then is lost
	change chan struct{}  // closed at the next change; nil while nobody waits
}

func newHalf(size int) *half { return &half{size: size} }

// changedLocked wakes whoever waits.
func (h *half) changedLocked() {
	if h.change != nil {
		close(h.change)
		h.change = nil
	}
}

// waitLocked is closed at the next change.
func (h *half) waitLocked() <-chan struct{} {
	if h.change == nil {
		h.change = make(chan struct{})
	}
	return h.change
}

// await calls try, with mu held, until it has something to say or d passes.
func (h *half) await(d *network.Deadline, try func() (done bool)) error {
	for {
		h.mu.Lock()
		done := try()
		var change <-chan struct{}
		if !done {
			change = h.waitLocked()
		}
		h.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-change:
		case <-d.Passed():
			return os.ErrDeadlineExceeded
		}
	}
}

// pop waits for a chunk, or for the end behind the last one.
func (h *half) pop(d *network.Deadline) (c *network.Chunk, err error) {
	late := h.await(d, func() bool {
		if c, err = nil, h.endLocked(); err == nil && len(h.queue) > 0 {
			c = h.takeLocked()
		}
		return c != nil || err != nil
	})
	if late != nil {
		return nil, late
	}
	return c, err
}

// read waits for bytes, or for the end behind the last one. The bytes are
// copied with mu held: the chunk stays in the queue while some of it is unread,
// where an Abort finds it.
func (h *half) read(b []byte, d *network.Deadline) (n int, err error) {
	late := h.await(d, func() bool {
		if err = h.endLocked(); err != nil || len(h.queue) == 0 {
			return err != nil
		}
		c := h.queue[0]
		n = copy(b, c.Data)
		if n == len(c.Data) {
			h.takeLocked().Release()
			return true
		}
		c.Data = c.Data[n:]
		h.held -= n
		return true
	})
	if late != nil {
		return 0, late
	}
	return n, err
}

// endLocked is why there is nothing to read, nil while there is or may be.
func (h *half) endLocked() error {
	switch {
	case h.closed != nil:
		return h.closed
	case len(h.queue) == 0:
		return h.end
	}
	return nil
}

func (h *half) takeLocked() *network.Chunk {
	c := h.queue[0]
	h.queue[0] = nil
	h.queue = h.queue[1:]
	if h.tail == c {
		h.tail = nil
	}
	h.held -= len(c.Data)
	h.room -= len(c.Space())
	h.changedLocked()
	return c
}

// push waits for room and takes the chunk, also on error. A chunk may exceed
// the bound by itself: the bound is soft, as Envoy's watermarks are.
func (h *half) push(c *network.Chunk, d *network.Deadline) error {
	var err error
	late := h.await(d, func() bool {
		if err = h.refusesLocked(); err != nil {
			return true
		}
		if h.room >= h.size {
			return false
		}
		h.queue, h.tail = append(h.queue, c), nil
		h.held += len(c.Data)
		h.room += len(c.Space())
		h.changedLocked()
		return true
	})
	if late != nil {
		err = late
	}
	if err != nil {
		c.Release()
	}
	return err
}

// write waits for room and takes some of b: into what is left of the last
// chunk, else into a new one.
func (h *half) write(b []byte, d *network.Deadline) (n int, err error) {
	late := h.await(d, func() bool {
		if err = h.refusesLocked(); err != nil {
			return true
		}
		if n = h.appendLocked(b); n == 0 && h.room < h.size {
			h.tail = network.NewChunk(min(len(b), h.size))
			h.queue = append(h.queue, h.tail)
			h.room += len(h.tail.Space())
			n = h.appendLocked(b)
		}
		if n > 0 {
			h.changedLocked()
		}
		return n > 0
	})
	if late != nil {
		return 0, late
	}
	return n, err
}

// appendLocked fills the last chunk, if it is ours, within the bound.
func (h *half) appendLocked(b []byte) int {
	if h.tail == nil || h.held >= h.size {
		return 0
	}
	n := copy(h.tail.Room(), b[:min(len(b), h.size-h.held)])
	h.tail.Data = h.tail.Data[:len(h.tail.Data)+n]
	h.held += n
	return n
}

// refusesLocked is why nothing can be written, nil if it can.
func (h *half) refusesLocked() error {
	switch {
	case h.end != nil:
		return h.over
	case h.closed != nil:
		return &network.ResetError{Remote: true, Err: h.closed}
	}
	return nil
}

// finish ends the direction from the writer's side: end is io.EOF, or a reset,
// and over what the writer is told from then on.
func (h *half) finish(end, over error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.end == nil {
		h.end, h.over = end, over
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
	h.queue, h.tail, h.held, h.room = nil, nil, 0, 0
	h.changedLocked()
}

// drained reports that the writer has ended it and nothing is left to read.
func (h *half) drained() bool {
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
	return p.in.read(b, &p.readBy)
}

func (p *pipeEnd) Write(b []byte) (int, error) {
	written := 0
	for len(b) > 0 {
		n, err := p.out.write(b, &p.writeBy)
		written += n
		if err != nil {
			return written, err
		}
		b = b[n:]
	}
	return written, nil
}

// CloseWrite: the other end reads EOF after what was written.
func (p *pipeEnd) CloseWrite() error {
	p.out.finish(io.EOF, net.ErrClosed)
	return nil
}

// Abort: the other end reads the cause, as a reset, after what was written.
func (p *pipeEnd) Abort(cause error) {
	if cause == nil {
		cause = errPipeClosed
	}
	p.out.finish(&network.ResetError{Remote: true, Err: cause}, &network.ResetError{Err: cause})
	p.in.stopReading(&network.ResetError{Err: cause})
	p.stopTimers()
}

// Close is silent after both directions ended, else an Abort.
func (p *pipeEnd) Close() error {
	if p.out.ended() && p.in.drained() {
		p.in.stopReading(net.ErrClosed)
		p.stopTimers()
		return nil
	}
	p.Abort(errPipeClosed)
	return nil
}

// stopTimers leaves no timer of a deadline behind.
func (p *pipeEnd) stopTimers() { _ = p.SetDeadline(time.Time{}) }

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
