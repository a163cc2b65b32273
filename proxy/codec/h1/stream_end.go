package h1

import (
	"context"
	"errors"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// Reset ends both directions; later Reads and Writes return cause. HTTP/1.1 has
// no codes: the connection is aborted, which is all it can say. A server whose
// answer is whole only stops reading, so that the answer still arrives (RFC 9112
// §9.6). After both directions ended it does nothing.
func (st *stream) Reset(_ codec.Code, cause error) {
	if cause == nil {
		cause = &network.ResetError{Err: errStreamClosed}
	}
	st.mu.Lock()
	abort := st.resetLocked(cause)
	st.mu.Unlock()
	if abort {
		st.c.nc.Abort(cause)
	}
}

// resetLocked ends the stream and reports whether the connection has to be
// aborted for it.
func (st *stream) resetLocked(cause error) bool {
	switch {
	case st.cause != nil, st.sendEnd && st.recvEnd:
		return false
	case st.c.server && !st.switched && st.sendEnd, st.c.server && st.unansweredFaultLocked() != nil:
		st.woke = true
		st.failLocked(cause)
		st.c.clock.wake() // the server resumes it once nobody reads
		return false
	}
	st.aborted, st.last = true, true
	st.failLocked(cause)
	return true
}

// unansweredFaultLocked is a malformed body that the codec is still to answer;
// nil if there is none.
func (st *stream) unansweredFaultLocked() *MessageError {
	var fault *MessageError
	if st.answered || !errors.As(st.recvErr, &fault) {
		return nil
	}
	return fault
}

// failLocked makes cause the answer to everything.
func (st *stream) failLocked(cause error) {
	st.cause = cause
	st.overLocked(cause)
}

// Close releases the stream; a direction that is still open is a Reset.
func (st *stream) Close() error {
	st.mu.Lock()
	abort := st.resetLocked(&network.ResetError{Err: errStreamClosed})
	st.released = true
	if st.cause == nil {
		st.cause = errStreamClosed
	}
	st.overLocked(codec.ErrEnded)
	st.mu.Unlock()
	if abort {
		st.c.nc.Abort(errStreamClosed)
	}
	return nil
}

// connLost tells a stream that the connection is gone under it, by our own
// doing.
func (st *stream) connLost(cause error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.cause == nil {
		st.aborted, st.last = true, true
		st.failLocked(cause)
	}
}

// isReleased reports that Close was called.
func (st *stream) isReleased() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.released
}

// background is the parent of a client stream's context.
var background = context.Background()
