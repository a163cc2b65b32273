package netstack

import (
	"io"
	"sync"

	"culvert/netstack/link"
	"culvert/proxy/network"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// maxSegment is the largest payload that leaves as one superpacket, bytes: more
// in one Write would be split again by the sender.
const maxSegment = link.FrameSize - header.TCPTotalHeaderMaximumSize - 1

// payload is bytes to be written, a tcpip.Payloader. Len is exact, which the
// stack relies on.
type payload []byte

func (p *payload) Len() int { return len(*p) }

// Read copies into the stack's buffer. It is called with an empty buffer first.
func (p *payload) Read(b []byte) (int, error) {
	n := copy(b, *p)
	*p = (*p)[n:]
	if n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// chunkWriter fills a chunk from the receive queue. It runs under the
// endpoint's lock, so it only copies; what does not fit stays queued.
type chunkWriter struct{ chunk *network.Chunk }

func (w *chunkWriter) Write(b []byte) (int, error) {
	used := len(w.chunk.Data)
	n := copy(w.chunk.Space()[used:], b)
	w.chunk.Data = w.chunk.Space()[:used+n]
	if n < len(b) {
		return n, io.ErrShortWrite // fewer bytes with no error would be a panic
	}
	return n, nil
}

// ReadChunk waits for bytes, holding no buffer, and returns all that are there
// and fit.
func (c *conn) ReadChunk() (*network.Chunk, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	for {
		if err := c.usable(&c.readBy); err != nil {
			return nil, err
		}
		chunk, err := c.takeChunk()
		if chunk != nil || err != nil {
			return chunk, err
		}
		if err := c.wait(c.readable, &c.readBy); err != nil {
			return nil, err
		}
	}
}

// PollChunk is ReadChunk that does not wait. A deadline that passes does not call
// ready: who polls sets none.
func (c *conn) PollChunk(ready func()) (*network.Chunk, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	for {
		if err := c.usable(&c.readBy); err != nil {
			return nil, err
		}
		if chunk, err := c.takeChunk(); chunk != nil || err != nil {
			return chunk, err
		}
		c.poller.await(ready)
		// What came in between may have called nobody.
		if !c.stirs() || !c.poller.forget() {
			return nil, nil
		}
	}
}

// stirs says that there is something to take note of for who reads.
func (c *conn) stirs() bool {
	return c.closeCause() != nil || c.ep.Readiness(readEvents) != 0
}

// poller is who asked to be called when there is something to read.
type poller struct {
	mu    sync.Mutex
	ready func()
}

func (p *poller) await(ready func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready = ready
}

// forget takes it back; false if it has been called.
func (p *poller) forget() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	waits := p.ready != nil
	p.ready = nil
	return waits
}

// wake calls it, once.
func (p *poller) wake() {
	p.mu.Lock()
	ready := p.ready
	p.ready = nil
	p.mu.Unlock()
	if ready != nil {
		ready()
	}
}

// takeChunk reads what is queued; neither chunk nor error: nothing is.
func (c *conn) takeChunk() (*network.Chunk, error) {
	queued, err := c.ep.GetSockOptInt(tcpip.ReceiveQueueSizeOption)
	if err == nil && queued == 0 && tcp.EndpointState(c.ep.State()) == tcp.StateEstablished {
		return nil, nil // a buffer is not worth taking to hear that again
	}
	chunk := network.NewChunk(min(max(queued, 1), network.ChunkHuge))
	c.filling.chunk = chunk
	_, err = c.ep.Read(&c.filling, tcpip.ReadOptions{})
	c.filling.chunk = nil
	if err != nil {
		chunk.Release()
		return nil, c.readError(err)
	}
	return chunk, nil
}

// WriteChunk queues the chunk's bytes and gives it back.
func (c *conn) WriteChunk(chunk *network.Chunk) error {
	defer chunk.Release()
	_, err := c.Write(chunk.Data)
	return err
}

// Unsent is 0 once the application has acknowledged every byte, and FIN if that
// was sent; until then 1, the endpoint not saying how many.
func (c *conn) Unsent() int {
	if !c.writing.TryLock() {
		return 1 // a Write waits for room
	}
	defer c.writing.Unlock()
	switch tcp.EndpointState(c.ep.State()) {
	case tcp.StateFinWait1, tcp.StateClosing, tcp.StateLastAck:
		return 1
	case tcp.StateEstablished, tcp.StateCloseWait:
		if !c.sendQueueEmpty() {
			return 1
		}
	}
	return 0
}

// sendQueueEmpty asks the endpoint the only thing it says of its send queue,
// whether that is smaller than its limit, with a limit of one byte. Nobody
// writes meanwhile (c.writing), and an acknowledgement that comes meanwhile at
// most wakes a writer for nothing.
func (c *conn) sendQueueEmpty() bool {
	o := c.ep.SocketOptions()
	size := o.GetSendBufferSize()
	o.SetSendBufferSize(1, false)
	defer o.SetSendBufferSize(size, false)
	return c.ep.Readiness(waiter.WritableEvents)&waiter.WritableEvents != 0
}
