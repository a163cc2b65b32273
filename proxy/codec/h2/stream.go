package h2

import (
	"context"
	"io"
	"sync"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"

	"golang.org/x/net/http2"
)

// stream is one HTTP/2 stream, in either role. All that changes is guarded by
// conn.mu.
type stream struct {
	// immutable
	c      *conn
	opened time.Duration // since the connection's start
	head   *codec.Request
	wire   *network.WireMeter
	id     uint32

	// writing orders the users of our direction: Write, CloseWrite, trailers.
	writing sync.Mutex

	// receiving
	growth     recvGrowth
	readable   sync.Cond
	ready      func() // of PollChunk, that found nothing
	queue      recvQueue
	recvWindow int   // the peer may send so much more
	recvCredit int   // consumed, not credited yet
	recvErr    error // reset or lost; what is queued is read first
	trailers   codec.Fields
	declared   int64 // content-length still to come; negative: not declared
	responses  []*codec.Response
	readBy     deadline
	recvEnd    bool
	eofRead    bool
	headed     bool // the final head (of the peer, client) has come
	wakeDue    bool // in conn.woken

	// sending
	writable   sync.Cond
	sendWindow int // may be negative (RFC 9113 §6.9.2)
	sendErr    error
	granted    int
	want       int
	credit     turn
	turn       turn
	writeBy    deadline
	flush      deadline // of a wait for flow control; none while nothing waits
	sendEnd    bool
	headSent   bool // server: the final head is sent

	gone     bool  // no longer among the connection's
	released bool  // Close was called
	cause    error // why it was reset by us
	ctx      context.Context
	ctxEnd   context.CancelCauseFunc
	over     error // cause of ctx, once it is over
	afterEnd func()
}

func (c *conn) newStream(id uint32) *stream {
	st := &stream{
		c: c, id: id, opened: time.Since(c.timers.start), declared: -1, wire: &network.WireMeter{},
		recvWindow: c.cfg.StreamWindow, sendWindow: c.peer.initialWindow,
	}
	st.growth.since = millis(st.opened)
	st.readable.L, st.writable.L = &c.mu, &c.mu
	st.credit = turn{cond: &st.writable, st: st}
	st.turn = turn{cond: &st.writable, st: st}
	return st
}

// ID is the stream's number.
func (st *stream) ID() uint64 { return uint64(st.id) }

// ConnectionID is Config.ConnectionID.
func (st *stream) ConnectionID() uint64 { return st.c.cfg.ConnectionID }

// Proto is HTTP2.
func (st *stream) Proto() codec.Proto { return codec.HTTP2 }

// LocalAddress is the connection's.
func (st *stream) LocalAddress() network.Address { return st.c.local }

// RemoteAddress is the connection's.
func (st *stream) RemoteAddress() network.Address { return st.c.remote }

// Request is the request's head.
func (st *stream) Request() *codec.Request { return st.head }

// Wire counts the stream's bytes on the connection.
func (st *stream) Wire() *network.WireMeter { return st.wire }

// PeerEnded reports whether all of the peer's message has come, read or not.
func (st *stream) PeerEnded() bool {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	return st.recvEnd
}

// Read returns what has arrived, io.EOF after the peer's END_STREAM, or why the
// stream is over.
func (st *stream) Read(p []byte) (int, error) {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(p) == 0 {
		return 0, st.cause
	}
	if err := st.waitDataLocked(); err != nil {
		return 0, err
	}
	n := st.queue.read(p)
	c.consumedLocked(st, n)
	return n, nil
}

// ReadChunk is Read without a copy: it waits holding no buffer, and the caller
// owns the chunk.
func (st *stream) ReadChunk() (*network.Chunk, error) {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := st.waitDataLocked(); err != nil {
		return nil, err
	}
	ch := st.queue.pop()
	c.consumedLocked(st, len(ch.Data))
	return ch, nil
}

// PollChunk is ReadChunk that does not wait.
func (st *stream) PollChunk(ready func()) (*network.Chunk, error) {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	there, err := st.dataLocked()
	switch {
	case err != nil:
		return nil, err
	case !there:
		st.ready = ready
		return nil, nil
	}
	ch := st.queue.pop()
	c.consumedLocked(st, len(ch.Data))
	return ch, nil
}

// Held is what was received and not taken yet, bytes of memory.
func (st *stream) Held() int {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	return st.queue.held()
}

// wakeReaderLocked has whoever reads look again.
func (st *stream) wakeReaderLocked() {
	st.readable.Broadcast()
	if ready := st.ready; ready != nil {
		st.ready = nil
		ready()
	}
}

// waitDataLocked waits until something is queued, or returns the end.
func (st *stream) waitDataLocked() error {
	for {
		if there, err := st.dataLocked(); there || err != nil {
			return err
		}
		st.readable.Wait()
	}
}

// dataLocked says that something is queued, or returns the end.
func (st *stream) dataLocked() (bool, error) {
	switch err := st.readBy.err(); {
	case st.cause != nil:
		return false, st.cause
	case err != nil:
		return false, err
	case !st.queue.empty():
		return true, nil
	case st.recvEnd:
		st.eofRead = true
		st.overIfEndedLocked()
		return false, io.EOF
	}
	return false, st.recvErr
}

// Trailers are the peer's, after Read returned io.EOF.
func (st *stream) Trailers() codec.Fields {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	if !st.eofRead {
		return nil
	}
	return st.trailers
}

// Write sends p as DATA and returns when its bytes are handed to the transport
// (a few KiB may still be queued behind what is being written). It waits for
// the peer's flow control.
func (st *stream) Write(p []byte) (int, error) {
	st.writing.Lock()
	defer st.writing.Unlock()
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(p) == 0 {
		return 0, st.writeErrLocked()
	}
	for sent := 0; ; {
		n, err := c.takeCredit(st, len(p)-sent)
		if err == nil {
			err = c.sendLocked(st, p[sent:sent+n])
		}
		if err != nil {
			return sent, err
		}
		if sent += n; sent == len(p) {
			return sent, nil
		}
	}
}

// WriteChunk is Write of a chunk the stream then owns.
func (st *stream) WriteChunk(ch *network.Chunk) error {
	defer ch.Release()
	_, err := st.Write(ch.Data)
	return err
}

// sendLocked sends p, whose credit st has taken.
func (c *conn) sendLocked(st *stream, p []byte) error {
	if len(p) <= smallWrite && len(c.w.pending)+len(p) <= maxPending {
		c.w.pending = appendFrameHeader(c.w.pending, len(p), http2.FrameData, 0, st.id)
		c.w.pending = append(c.w.pending, p...)
		st.wire.Sent(frameHeaderLen + len(p))
		c.flood.sent(len(p))
		c.flushIfFreeLocked()
		return nil
	}
	if err := c.lockWriter(&st.turn, st.writeErrLocked); err != nil {
		c.returnCredit(st, len(p))
		return err
	}
	if err := st.writeErrLocked(); err != nil {
		c.returnCredit(st, len(p))
		c.unlockWriterLocked()
		return err
	}
	c.flood.sent(len(p))
	c.writeLocked(st, p)
	if c.w.broken {
		return c.lossLocked(c.err)
	}
	return nil
}

// writeErrLocked is why nothing can be written now; nil if it can.
func (st *stream) writeErrLocked() error {
	switch {
	case st.cause != nil:
		return st.cause
	case st.sendErr != nil:
		return st.sendErr
	case st.sendEnd:
		return errWriteAfterEnd
	case st.c.server && !st.headSent:
		return errNoResponseHead
	}
	return st.writeBy.err()
}

// CloseWrite ends our direction with END_STREAM. The other goes on.
func (st *stream) CloseWrite() error { return st.endWriting(nil) }

// WriteTrailers ends our direction with trailers.
func (st *stream) WriteTrailers(t codec.Fields) error { return st.endWriting(t) }

func (st *stream) endWriting(t codec.Fields) error {
	st.writing.Lock()
	defer st.writing.Unlock()
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.sendEnd && st.cause == nil {
		return nil
	}
	if err := st.writeErrLocked(); err != nil {
		return err
	}
	if len(t) == 0 {
		c.w.pending = appendFrameHeader(c.w.pending, 0, http2.FrameData, http2.FlagDataEndStream, st.id)
		st.wire.Sent(frameHeaderLen)
	} else if err := c.queueTrailersLocked(st, t); err != nil {
		return err
	}
	st.sendEndedLocked()
	c.flushIfFreeLocked()
	return nil
}

// sendEndedLocked notes that END_STREAM is queued.
func (st *stream) sendEndedLocked() {
	st.sendEnd = true
	st.endedLocked()
}

// endedLocked is called when a direction has ended.
func (st *stream) endedLocked() {
	if st.sendEnd && st.recvEnd {
		st.c.forgetLocked(st, false)
	}
	st.overIfEndedLocked()
}

// SetReadDeadline bounds Read, ReadChunk and ReadResponse.
func (st *stream) SetReadDeadline(t time.Time) error {
	return st.setDeadline(&st.readBy, st.wakeReaderLocked, t)
}

// SetWriteDeadline bounds Write's wait for flow control and for its turn.
func (st *stream) SetWriteDeadline(t time.Time) error {
	return st.setDeadline(&st.writeBy, st.writable.Broadcast, t)
}

func (st *stream) setDeadline(d *deadline, wake func(), t time.Time) error {
	mu := &st.c.mu
	mu.Lock()
	defer mu.Unlock()
	d.set(t, func() {
		mu.Lock()
		defer mu.Unlock()
		wake()
	})
	wake()
	return nil
}
