package h2

import (
	"fmt"
	"net"
	"sync"

	"culvert/proxy/network"

	"golang.org/x/net/http2"
)

const (
	// smallWrite is the largest payload that is copied behind the queued
	// frames, to go out with whatever goes next; bytes.
	smallWrite = 4 << 10
	// maxPending is how much may be queued before senders wait, bytes. What
	// the reading goroutine queues is bounded by the flood limits instead.
	maxPending = 64 << 10
	// maxBatch is the most one stream sends in its turn, bytes.
	maxBatch = network.ChunkHuge
)

// writer is the sending half of a connection. Frames are queued in pending, in
// order; whoever holds the writer takes all that is pending, puts its own DATA
// behind it and writes both. The fields up to iov are guarded by conn.mu.
type writer struct {
	pending, spare  []byte
	frames, control int // queued in pending: all, and those the peer provoked
	busy            bool
	queue           turnList
	want            bool      // the flusher has work
	flusher         sync.Cond // L is conn.mu
	drained         sync.Cond // L is conn.mu; pending is empty and nobody writes
	own             turn      // the flusher's place in the queue
	broken          bool      // a write failed

	// owned by whoever holds the writer
	socket *network.Socket // for writev; nil: one contiguous Write
	dst    net.Conn
	iov    net.Buffers
	hdrs   []byte
}

func (w *writer) init(c *conn) {
	w.flusher.L, w.drained.L = &c.mu, &c.mu
	w.own.cond = &w.flusher
	w.dst, w.socket = c.nc, network.WriteSocket(c.nc)
}

// flushedLocked reports that nothing more will come out of the writer.
func (w *writer) flushedLocked() bool { return w.broken || (!w.busy && len(w.pending) == 0) }

// queueControlLocked notes a frame that the peer made us queue and judges the
// flood limits (CVE-2019-9512, -9515 and their kin).
func (c *conn) queueControlLocked() error {
	c.w.control++
	if c.w.control > c.cfg.MaxOutboundControlFrames {
		c.stats.ControlFlood.Inc()
		return connError(http2.ErrCodeEnhanceYourCalm, "too many queued control frames")
	}
	return c.queueFrameLocked()
}

// queueFrameLocked notes any other frame queued without waiting.
func (c *conn) queueFrameLocked() error {
	c.w.frames++
	if c.w.frames > c.cfg.MaxOutboundFrames {
		c.stats.OutboundFlood.Inc()
		return connError(http2.ErrCodeEnhanceYourCalm, "too many queued frames")
	}
	return nil
}

// wakeFlusherLocked has pending written soon, by the flusher unless somebody
// is writing, who then sees it.
func (c *conn) wakeFlusherLocked() {
	c.w.want = true
	c.w.flusher.Signal()
}

// flushLoop writes what is pending and nobody else has written.
func (c *conn) flushLoop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.ending || !c.w.flushedLocked() {
		if len(c.w.pending) == 0 || c.w.broken || !c.w.want {
			c.w.want = false
			c.w.flusher.Wait()
			continue
		}
		c.w.want = false
		_ = c.lockWriter(&c.w.own, func() error { return nil }) // never stops
		c.writeLocked(nil, nil)
	}
}

// lockWriter waits for t's turn to write, first come first served. It gives up
// with stopped's error; conn.mu is held, and released while it waits.
func (c *conn) lockWriter(t *turn, stopped func() error) error {
	if !c.w.busy {
		c.w.busy = true
		return nil
	}
	t.ready = false
	c.w.queue.push(t)
	for !t.ready {
		if err := stopped(); err != nil {
			c.w.queue.remove(t)
			return err
		}
		t.cond.Wait()
	}
	return nil
}

// unlockWriterLocked hands the writer on.
func (c *conn) unlockWriterLocked() {
	if t := c.w.queue.pop(); t != nil {
		t.ready = true
		t.cond.Broadcast()
		return
	}
	c.w.busy = false
	if len(c.w.pending) > 0 {
		c.wakeFlusherLocked()
	}
	if c.ending {
		c.w.flusher.Signal()
		c.w.drained.Broadcast()
	}
}

// flushIfFreeLocked writes pending now if nobody is writing; else whoever is
// will see to it.
func (c *conn) flushIfFreeLocked() {
	if c.w.busy || c.w.broken {
		return
	}
	c.w.busy = true
	c.writeLocked(nil, nil)
}

// writeLocked writes pending and behind it p as DATA of st, and hands the
// writer on. The caller holds the writer and conn.mu; the mutex is released
// while the bytes go out.
func (c *conn) writeLocked(st *stream, p []byte) {
	w := &c.w
	head := w.pending
	w.pending, w.spare = w.spare[:0], nil
	w.frames, w.control = 0, 0
	maxFrame := min(c.peer.maxFrame, c.cfg.MaxFrameSize)
	if st != nil {
		st.wire.Sent(len(p) + frameHeaderLen*framesOf(p, maxFrame))
	}
	c.mu.Unlock()

	w.gather(head, st, p, maxFrame)
	err := w.write()

	c.mu.Lock()
	if cap(head) <= maxPending {
		w.spare = head[:0]
	}
	if err != nil {
		w.broken = true
		c.failLocked(fmt.Errorf("write: %w", err))
	}
	c.unlockWriterLocked()
}

// framesOf is how many DATA frames p takes.
func framesOf(p []byte, maxFrame int) int { return (len(p) + maxFrame - 1) / maxFrame }

// gather lists head and the frames of p.
func (w *writer) gather(head []byte, st *stream, p []byte, maxFrame int) {
	w.iov, w.hdrs = w.iov[:0], w.hdrs[:0]
	if len(head) > 0 {
		w.iov = append(w.iov, head)
	}
	if need := framesOf(p, maxFrame) * frameHeaderLen; cap(w.hdrs) < need {
		w.hdrs = make([]byte, 0, need) // iov points into it: it must not move
	}
	for len(p) > 0 {
		n := min(len(p), maxFrame)
		at := len(w.hdrs)
		w.hdrs = appendFrameHeader(w.hdrs, n, http2.FrameData, 0, st.id)
		w.iov = append(w.iov, w.hdrs[at:], p[:n])
		p = p[n:]
	}
}

// write writes iov: one writev on a raw socket, else as few contiguous writes
// as pooled chunks allow, so that TLS sees whole batches.
func (w *writer) write() error {
	defer clear(w.iov) // hold on to no sender's bytes
	if w.socket != nil {
		return w.socket.WriteBuffers(w.iov)
	}
	size := 0
	for _, b := range w.iov {
		size += len(b)
	}
	c := network.NewChunk(min(size, network.ChunkHuge))
	defer c.Release()
	for _, b := range w.iov {
		for len(b) > 0 {
			n := copy(c.Room(), b)
			c.Data = c.Data[:len(c.Data)+n]
			b = b[n:]
			if len(c.Room()) == 0 {
				if err := w.writeChunk(c); err != nil {
					return err
				}
			}
		}
	}
	return w.writeChunk(c)
}

func (w *writer) writeChunk(c *network.Chunk) error {
	if len(c.Data) == 0 {
		return nil
	}
	_, err := w.dst.Write(c.Data)
	c.Data = c.Space()[:0]
	return err
}
