package h2

import (
	"culvert/proxy/network"

	"golang.org/x/net/http2"
)

// readData takes a DATA frame (RFC 9113 §6.1): its payload goes to the stream
// as it arrives, without waiting for the rest of the frame.
func (c *conn) readData(h frameHeader) error {
	endStream := h.flags&http2.FlagDataEndStream != 0
	if err := c.emptyFrame(h, endStream); err != nil {
		return err
	}
	payload, pad, err := c.readPadding(h)
	if err != nil {
		return err
	}
	st, violation := c.admitData(h, payload, endStream)
	if st == nil {
		if err := c.src.discard(payload + pad); err != nil {
			return err
		}
		return violation
	}
	if err := c.readPayload(st, payload); err != nil {
		return err
	}
	if err := c.src.discard(pad); err != nil {
		return err
	}
	if endStream || payload < h.length {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.consumedLocked(st, h.length-payload) // padding is nobody's to read
		if endStream {
			st.recvEndedLocked()
		}
	}
	return nil
}

// readPadding returns the length of the payload and of the padding behind it.
func (c *conn) readPadding(h frameHeader) (payload, pad int, err error) {
	if h.flags&http2.FlagDataPadded == 0 {
		return h.length, 0, nil
	}
	if h.length == 0 {
		return 0, 0, connError(http2.ErrCodeFrameSize, "padded frame without a pad length")
	}
	p, err := c.src.take(1)
	if err != nil {
		return 0, 0, err
	}
	pad = int(p[0])
	if pad >= h.length {
		return 0, 0, connError(http2.ErrCodeProtocol, "padding is longer than its frame")
	}
	return h.length - 1 - pad, pad, nil
}

// admitData accounts for a DATA frame and returns its stream; none if the
// payload is to be thrown away, with the reason if that is an error.
func (c *conn) admitData(h frameHeader, payload int, endStream bool) (*stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.id == 0 {
		return nil, connError(http2.ErrCodeProtocol, "DATA on stream 0")
	}
	if err := c.arrivedLocked(h.length); err != nil {
		return nil, err
	}
	st, err := c.findLocked(h.id)
	switch {
	case err != nil:
		return nil, err
	case st == nil && (c.resets.has(h.id) || c.goaway.ignores(h.id)):
		return nil, nil // it was under way when we reset the stream
	case st == nil:
		return nil, streamError(h.id, http2.ErrCodeStreamClosed, "DATA on a closed stream")
	case st.recvEnd:
		return nil, streamError(h.id, http2.ErrCodeStreamClosed, "DATA after END_STREAM")
	case !st.headed:
		return nil, streamError(h.id, http2.ErrCodeProtocol, "DATA before the final head")
	case h.length > st.recvWindow:
		return nil, streamError(h.id, http2.ErrCodeFlowControl, "DATA beyond the stream window")
	}
	st.recvWindow -= h.length
	if st.declared >= 0 {
		st.declared -= int64(payload)
		if st.declared < 0 || (endStream && st.declared != 0) {
			return nil, streamError(h.id, http2.ErrCodeProtocol, "DATA does not match content-length")
		}
	}
	st.wire.Received(frameHeaderLen + h.length)
	return st, nil
}

// readPayload hands n bytes of payload to st as they come.
func (c *conn) readPayload(st *stream, n int) error {
	for n > 0 {
		ch, view, err := c.src.part(n)
		if err != nil {
			return err
		}
		if ch != nil {
			n -= len(ch.Data)
			c.deliver(st, ch)
			continue
		}
		n -= len(view)
		c.deliverCopy(st, view)
	}
	return nil
}

// deliverCopy queues a copy of p.
func (c *conn) deliverCopy(st *stream, p []byte) {
	for len(p) > 0 {
		c.mu.Lock()
		if st.gone {
			c.mu.Unlock()
			return
		}
		if st.queue.appendTail(p) {
			c.wakeLaterLocked(st)
			c.mu.Unlock()
			return
		}
		size := st.queue.nextSize(len(p))
		c.mu.Unlock()
		ch := network.NewChunk(size)
		n := copy(ch.Space(), p)
		ch.Data = ch.Space()[:n]
		p = p[n:]
		c.deliver(st, ch)
	}
}

// deliver queues ch, unless the stream ended under it.
func (c *conn) deliver(st *stream, ch *network.Chunk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.gone {
		ch.Release()
		return
	}
	st.queue.push(ch)
	c.wakeLaterLocked(st)
}

// wakeLaterLocked tells st's reader before the reading goroutine waits again.
func (c *conn) wakeLaterLocked(st *stream) {
	if !st.wakeDue {
		st.wakeDue = true
		c.woken = append(c.woken, st)
	}
}

// recvEndedLocked notes the peer's END_STREAM.
func (st *stream) recvEndedLocked() {
	if st.gone {
		return
	}
	st.recvEnd = true
	st.wakeReaderLocked()
	st.endedLocked()
}
