package h1

import (
	"errors"
	"os"
	"strconv"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// Write sends p as body or payload.
func (st *stream) Write(p []byte) (int, error) {
	st.writing.Lock()
	defer st.writing.Unlock()
	if err := st.writeErr(); err != nil || len(p) == 0 {
		return 0, err
	}
	switch st.out.kind {
	case noBody:
		return 0, errNoBody
	case chunkedBody:
		return st.writeChunked(p)
	case fixedBody:
		if int64(len(p)) > st.out.length {
			return 0, st.breakOff(errTooLong)
		}
	}
	n, err := st.c.nc.Write(p)
	if st.out.kind == fixedBody {
		st.out.length -= int64(n)
	}
	if st.out.kind != rawBody {
		st.wire.Sent(n)
	}
	return n, st.didWrite(err, false)
}

// WriteChunk is Write of a chunk the stream then owns.
func (st *stream) WriteChunk(ch *network.Chunk) error {
	defer ch.Release()
	_, err := st.Write(ch.Data)
	return err
}

// writeChunked sends p as one chunk (RFC 9112 §7.1).
func (st *stream) writeChunked(p []byte) (int, error) {
	head := strconv.AppendInt(st.c.out.buffer(), int64(len(p)), 16)
	head = append(head, "\r\n"...)
	n, err := st.c.out.write(head, p, []byte("\r\n"))
	st.wire.Sent(int(n))
	st.c.out.keep(head)
	if err != nil {
		return 0, st.didWrite(err, true)
	}
	return len(p), nil
}

// lastChunk comes before the trailers (RFC 9112 §7.1).
const lastChunk = "0\r\n"

// CloseWrite ends our direction: with the last chunk, or in a tunnel with the
// connection's own half-close. A body shorter than its content-length cannot
// end but by breaking the connection off.
func (st *stream) CloseWrite() error { return st.endWriting(nil) }

// WriteTrailers ends our direction with trailers, which only a chunked body can
// carry; they are dropped elsewhere.
func (st *stream) WriteTrailers(t codec.Fields) error { return st.endWriting(t) }

func (st *stream) endWriting(t codec.Fields) error {
	st.writing.Lock()
	defer st.writing.Unlock()
	err := st.writeErr()
	if errors.Is(err, errWriteAfterEnd) {
		return nil
	}
	if err != nil {
		return err
	}
	switch st.out.kind {
	case fixedBody:
		if st.out.length > 0 {
			return st.breakOff(errTooShort)
		}
	case chunkedBody:
		buf, err := st.c.appendTrailers(append(st.c.out.buffer(), lastChunk...), t)
		if err != nil {
			return err
		}
		if _, err = st.c.out.write(buf, nil, nil); err != nil {
			return st.didWrite(err, true)
		}
		st.wire.Sent(len(buf))
		if len(t) > 0 {
			st.wire.HeaderSent(len(buf) - len(lastChunk))
		}
		st.c.out.keep(buf)
	case rawBody, untilClose:
		if err := st.c.nc.CloseWrite(); err != nil {
			return st.didWrite(err, true)
		}
	}
	st.sendEnded()
	return nil
}

// breakOff ends a message that cannot be whole any more.
func (st *stream) breakOff(err error) error {
	st.Reset(codec.CodeInternal, err)
	return err
}

func (st *stream) sendEnded() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.sendEnd = true
	st.overIfEndedLocked()
}

// writeErr is why nothing can be written now; nil if something can.
func (st *stream) writeErr() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.cause != nil:
		return st.cause
	case st.sendErr != nil:
		return st.sendErr
	case st.sendEnd:
		return errWriteAfterEnd
	case st.tunnel && st.c.server && st.answered: // switched, or a refusal with its body
		return nil
	case st.tunnel && !st.switched:
		return errNotAnswered
	case st.c.server && !st.answered:
		return errNoResponseHead
	}
	return nil
}

// didWrite gives an error of writing its meaning. It stays, unless it was a
// missed deadline that left what frames the message whole.
func (st *stream) didWrite(err error, framed bool) error {
	if err == nil {
		return nil
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.cause != nil:
		return st.cause
	case errors.Is(err, os.ErrDeadlineExceeded) && !framed:
		return err
	}
	st.sendErr, st.last = writeError(err), true
	return st.sendErr
}
