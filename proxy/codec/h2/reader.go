package h2

import (
	"encoding/binary"
	"errors"
	"time"

	"golang.org/x/net/http2"
)

// beforeRead runs before the reading goroutine may wait: streams learn of what
// the last read brought, in one go, so that a reader finds a batch rather than
// its first frame.
func (c *conn) beforeRead() {
	c.timers.lastRead.Store(int64(time.Since(c.timers.start)))
	if len(c.woken) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, st := range c.woken {
		st.wakeDue = false
		st.wakeReaderLocked()
		c.woken[i] = nil
	}
	c.woken = c.woken[:0]
}

// readPreface takes what must come first: the client's preface, and SETTINGS
// (RFC 9113 §3.4).
func (c *conn) readPreface() error {
	if c.server {
		p, err := c.src.take(len(clientPreface))
		if err != nil {
			return err
		}
		if string(p) != clientPreface {
			return connError(http2.ErrCodeProtocol, "not an HTTP/2 client")
		}
	}
	h, err := c.readHeader()
	if err != nil {
		return err
	}
	if h.kind != http2.FrameSettings || h.flags&http2.FlagSettingsAck != 0 {
		return connError(http2.ErrCodeProtocol, "first frame is not SETTINGS")
	}
	if err := c.readSettings(h); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.window = true
	c.timers.preface.Stop()
	return nil
}

func (c *conn) readHeader() (frameHeader, error) {
	p, err := c.src.take(frameHeaderLen)
	if err != nil {
		return frameHeader{}, err
	}
	h := parseFrameHeader(p)
	if h.length > c.cfg.MaxFrameSize {
		return h, connError(http2.ErrCodeFrameSize, "frame larger than SETTINGS_MAX_FRAME_SIZE")
	}
	return h, nil
}

// readFrames serves the connection until it ends.
func (c *conn) readFrames() error {
	for {
		h, err := c.readHeader()
		if err != nil {
			return err
		}
		if err := c.readFrame(h); err != nil {
			var se *StreamError
			if !errors.As(err, &se) {
				return err
			}
			if err := c.streamViolated(se); err != nil {
				return err
			}
		}
		c.slowDown()
	}
}

// readFrame takes the frame whose header is h, whole, whether it is in order
// or not: a *StreamError resets the stream, any other error ends the connection.
func (c *conn) readFrame(h frameHeader) error {
	if c.block.open && (h.kind != http2.FrameContinuation || h.id != c.block.id) {
		return connError(http2.ErrCodeProtocol, "header block is interrupted")
	}
	switch h.kind {
	case http2.FrameData:
		return c.readData(h)
	case http2.FrameHeaders:
		return c.readHeaders(h)
	case http2.FrameContinuation:
		return c.readContinuation(h)
	case http2.FrameSettings:
		return c.readSettings(h)
	case http2.FramePushPromise:
		return connError(http2.ErrCodeProtocol, "PUSH_PROMISE is not allowed")
	case http2.FrameGoAway:
		return c.readGoAway(h)
	case http2.FramePriority, http2.FrameRSTStream, http2.FramePing, http2.FrameWindowUpdate:
		return c.readFixed(h)
	}
	return c.src.discard(h.length) // unknown types are ignored (RFC 9113 §4.1)
}

// readFixed takes the frames of a fixed size.
func (c *conn) readFixed(h frameHeader) error {
	size := 4
	switch h.kind {
	case http2.FramePriority:
		size = 5
	case http2.FramePing:
		size = 8
	}
	if h.length != size {
		if h.kind != http2.FramePriority {
			return connError(http2.ErrCodeFrameSize, "frame of a wrong size")
		}
		if err := c.src.discard(h.length); err != nil {
			return err
		}
		return streamError(h.id, http2.ErrCodeFrameSize, "PRIORITY of a wrong size")
	}
	p, err := c.src.take(size)
	if err != nil {
		return err
	}
	switch h.kind {
	case http2.FramePing:
		return c.readPing(h, [8]byte(p))
	case http2.FrameWindowUpdate:
		return c.readWindowUpdate(h, int(binary.BigEndian.Uint32(p)&^(1<<31)))
	case http2.FrameRSTStream:
		return c.readReset(h, http2.ErrCode(binary.BigEndian.Uint32(p)))
	}
	return c.readPriority(h, binary.BigEndian.Uint32(p)&^(1<<31))
}

// readPriority ignores priorities, but not their number (CVE-2019-9513).
func (c *conn) readPriority(h frameHeader, dependsOn uint32) error {
	if h.id == 0 {
		return connError(http2.ErrCodeProtocol, "PRIORITY on stream 0")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.flood.priorityFrame(c.stats); err != nil {
		return err
	}
	if dependsOn == h.id {
		return streamError(h.id, http2.ErrCodeProtocol, "stream depends on itself")
	}
	return nil
}

func (c *conn) readReset(h frameHeader, code http2.ErrCode) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	st, err := c.findLocked(h.id)
	if err != nil || st == nil {
		return err
	}
	c.stats.RxReset.Inc()
	if code == http2.ErrCodeRefusedStream {
		c.stats.RefusedErrors.Inc()
	}
	st.peerResetLocked(code)
	return nil
}

// findLocked is the live stream with that number, nil if it is over. A stream
// that was never opened is a connection error (RFC 9113 §5.1).
func (c *conn) findLocked(id uint32) (*stream, error) {
	if st := c.streams[id]; st != nil {
		return st, nil
	}
	if id == 0 || id%2 == 0 || id > c.maxID {
		return nil, connError(http2.ErrCodeProtocol, "frame on an idle stream")
	}
	return nil, nil
}

// streamViolated resets the stream a *StreamError names.
func (c *conn) streamViolated(e *StreamError) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.Code == http2.ErrCodeProtocol {
		c.stats.MessagingError.Inc()
	}
	if st := c.streams[e.StreamID]; st != nil {
		return st.violatedLocked(e)
	}
	if c.resets.has(e.StreamID) {
		return nil // it has been told
	}
	return c.queueProvokedResetLocked(e.StreamID, e.Code)
}
