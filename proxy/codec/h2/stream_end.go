package h2

import (
	"context"

	"culvert/proxy/codec"

	"golang.org/x/net/http2"
)

// Reset ends both directions with a code; later Reads and Writes return cause.
// What is queued is dropped. After both directions ended it does nothing.
func (st *stream) Reset(code codec.Code, cause error) {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.resetLocked(wireCode(code), cause)
}

// resetLocked resets the stream on our own account. It queues the RST_STREAM
// and leaves the writing to others.
func (st *stream) resetLocked(code http2.ErrCode, cause error) {
	if st.gone {
		return
	}
	if cause == nil {
		cause = resetBy(false, code, errStreamClosed)
	}
	st.c.queueResetLocked(st.id, code)
	st.failLocked(cause)
	st.c.forgetLocked(st, false)
}

// failLocked makes cause the answer to everything, now.
func (st *stream) failLocked(cause error) {
	st.cause = cause
	st.queue.drop()
	st.wakeLocked()
	st.overLocked(cause)
}

// peerResetLocked is a RST_STREAM: what came before it is still read, what we
// would send is not wanted.
func (st *stream) peerResetLocked(code http2.ErrCode) {
	err := resetBy(true, code, streamError(st.id, code, ""))
	st.loseLocked(err)
	st.c.forgetLocked(st, true)
}

// loseLocked ends both directions from the other side.
func (st *stream) loseLocked(err error) {
	if !st.recvEnd {
		st.recvErr = err
	}
	if !st.sendEnd {
		st.sendErr = err
	}
	st.wakeLocked()
	st.overLocked(err)
}

// violatedLocked resets the stream because the peer broke a rule on it: the
// peer provoked it, so it counts against the flood limits (CVE-2025-8671).
func (st *stream) violatedLocked(e *StreamError) error {
	err := st.c.queueProvokedResetLocked(st.id, e.Code)
	st.failLocked(resetBy(true, e.Code, e))
	st.c.forgetLocked(st, true)
	return err
}

func (st *stream) wakeLocked() {
	st.wakeReaderLocked()
	st.writable.Broadcast()
}

// overIfEndedLocked ends the context once our direction is ended and the peer's
// has been read to its end.
func (st *stream) overIfEndedLocked() {
	if st.sendEnd && st.eofRead {
		st.overLocked(codec.ErrEnded)
	}
}

// overLocked ends Context with cause.
func (st *stream) overLocked(cause error) {
	if st.over == nil {
		st.over = cause
		if st.ctxEnd != nil {
			st.ctxEnd(cause)
		}
		if st.afterEnd != nil {
			go st.afterEnd() // ends by itself; who could not stop it awaits it
			st.afterEnd = nil
		}
	}
}

// AfterEnd implements codec.AfterEnd: of a stream whose Context nobody asks for,
// none is made.
func (st *stream) AfterEnd(f func()) (stop func() bool) {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.afterEnd = f
	if st.over != nil {
		go f() // as in overLocked
		st.afterEnd = nil
	}
	return st.stopAfterEnd
}

func (st *stream) stopAfterEnd() bool {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	stopped := st.afterEnd != nil
	st.afterEnd = nil
	return stopped
}

// Context ends when the stream does; its cause says how: codec.ErrEnded once
// both directions are over and the peer's is read to its end.
func (st *stream) Context() context.Context {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	if st.ctx == nil {
		st.ctx, st.ctxEnd = context.WithCancelCause(st.c.base)
		if st.over != nil {
			st.ctxEnd(st.over)
		}
	}
	return st.ctx
}

// Close releases the stream. A direction that is still open is reset: with
// CANCEL, but with NO_ERROR by a server that has answered in full and no longer
// wants the rest of the request (RFC 9113 §8.1).
func (st *stream) Close() error {
	c := st.c
	c.mu.Lock()
	code := http2.ErrCodeCancel
	if c.server && st.sendEnd && st.head.Method != "CONNECT" {
		code = http2.ErrCodeNo
	}
	first := !st.released
	st.closeLocked(code, errStreamClosed)
	c.mu.Unlock()
	if first && c.cfg.StreamClosed != nil {
		c.cfg.StreamClosed()
	}
	return nil
}

func (st *stream) closeLocked(code http2.ErrCode, cause error) {
	if !st.gone {
		st.resetLocked(code, resetBy(false, code, cause))
	}
	st.released = true
	st.queue.drop()
	st.ungrowLocked()
	if st.cause == nil {
		st.cause = errStreamClosed
	}
	st.overLocked(codec.ErrEnded)
	st.readBy.stop()
	st.writeBy.stop()
	st.flush.stop()
}

// queueResetLocked queues a RST_STREAM of our own choosing. It does not count
// as provoked: closing many streams at once is no flood of the peer's.
func (c *conn) queueResetLocked(id uint32, code http2.ErrCode) {
	if c.closed {
		return
	}
	c.w.pending = appendReset(c.w.pending, id, code)
	c.resets.add(id)
	c.stats.TxReset.Inc()
	c.wakeFlusherLocked()
}

// queueProvokedResetLocked queues a RST_STREAM for what the peer did.
func (c *conn) queueProvokedResetLocked(id uint32, code http2.ErrCode) error {
	c.queueResetLocked(id, code)
	return c.queueControlLocked()
}
