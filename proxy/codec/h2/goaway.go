package h2

import (
	"encoding/binary"
	"errors"
	"time"

	"golang.org/x/net/http2"
)

// drainPing is the PING behind the first GOAWAY: its acknowledgement says that
// the peer has seen it (RFC 9113 §6.8).
var drainPing = [8]byte{'d', 'r', 'a', 'i', 'n'}

const (
	// drainRoundTrip bounds the wait for that acknowledgement.
	drainRoundTrip = 2 * time.Second
	// maxGoAwayDebug is the debug data that is read and thrown away at most;
	// the rest of it ends the connection.
	maxGoAwayDebug = 16 << 10
)

// goawayState is how far an orderly end has come. Guarded by conn.mu.
type goawayState struct {
	draining bool // we take, or open, no new streams soon
	final    bool // server: last is told to the client
	last     uint32
	received bool // the peer takes no new streams
	peerLast uint32
}

// finished reports that no new streams will be: the connection is over with
// its last one.
func (g *goawayState) finished() bool { return g.final || g.received }

// ignores reports a stream beyond the last we promised to serve.
func (g *goawayState) ignores(id uint32) bool { return g.final && id > g.last }

// drain begins an orderly end. It may be called from anywhere and does not wait.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drainLocked()
}

func (c *conn) drainLocked() {
	if c.closed {
		return
	}
	if c.timers.drain == nil {
		c.timers.drain = time.AfterFunc(c.cfg.DrainTimeout, c.drainExpired)
	}
	c.turnAwayLocked()
}

// turnAwayLocked makes the streams that are open the last. They end when they
// want.
func (c *conn) turnAwayLocked() {
	if c.closed || c.goaway.draining {
		return
	}
	c.goaway.draining = true
	if !c.server {
		c.goaway.final = true
		c.endIfUnusedLocked()
		return
	}
	c.w.pending = appendGoAway(c.w.pending, maxWindow, http2.ErrCodeNo, "")
	c.w.pending = appendPing(c.w.pending, false, drainPing)
	c.stats.GoawaySent.Inc()
	c.timers.goaway = time.AfterFunc(drainRoundTrip, c.drainSeen)
	c.wakeFlusherLocked()
}

// drainSeen is the second phase: streams that the client opened before it saw
// the first GOAWAY have arrived, and are served.
func (c *conn) drainSeen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || !c.goaway.draining || c.goaway.final {
		return
	}
	c.timers.goaway.Stop()
	c.goaway.final, c.goaway.last = true, c.maxID
	c.w.pending = appendGoAway(c.w.pending, c.maxID, http2.ErrCodeNo, "")
	c.stats.GoawaySent.Inc()
	c.wakeFlusherLocked()
	c.endIfUnusedLocked()
}

func (c *conn) endIfUnusedLocked() {
	if len(c.streams) == 0 {
		c.failLocked(nil)
	}
}

var errDrainTimeout = errors.New("drain timeout")

func (c *conn) drainExpired() { c.fail(&closedError{errDrainTimeout}) }

// sayGoodbyeLocked queues the last GOAWAY, with the code of err.
func (c *conn) sayGoodbyeLocked(err error) {
	var ce *ConnError
	var local *closedError
	code, reason := http2.ErrCodeNo, ""
	switch {
	case errors.As(err, &ce):
		code, reason = ce.Code, ce.Reason
	case errors.As(err, &local):
	case err == nil && !c.server && c.goaway.draining:
	default:
		return
	}
	last := uint32(0) // a client serves no streams
	if c.server {
		last = c.maxID
		if c.goaway.final {
			last = c.goaway.last
		}
	}
	c.w.pending = appendGoAway(c.w.pending, last, code, reason)
	c.stats.GoawaySent.Inc()
}

// readGoAway takes a GOAWAY (RFC 9113 §6.8). Streams above the last one were
// not processed.
func (c *conn) readGoAway(h frameHeader) error {
	switch {
	case h.id != 0:
		return connError(http2.ErrCodeProtocol, "GOAWAY on a stream")
	case h.length < 8:
		return connError(http2.ErrCodeFrameSize, "GOAWAY of a wrong size")
	case h.length > maxGoAwayDebug:
		return connError(http2.ErrCodeEnhanceYourCalm, "GOAWAY is too long")
	}
	p, err := c.src.take(8)
	if err != nil {
		return err
	}
	last := binary.BigEndian.Uint32(p) &^ (1 << 31)
	code := http2.ErrCode(binary.BigEndian.Uint32(p[4:]))
	if err := c.src.discard(h.length - 8); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server {
		c.drainLocked() // a client that goes opens nothing new
		return nil
	}
	if c.goaway.received && last > c.goaway.peerLast {
		return connError(http2.ErrCodeProtocol, "GOAWAY raises its last stream")
	}
	c.goaway.received, c.goaway.peerLast = true, last
	var cause error = ErrDraining
	if code != http2.ErrCodeNo {
		cause = errors.Join(&ConnError{Code: code, Remote: true}, ErrDraining)
	}
	for id, st := range c.streams {
		if id > last {
			st.loseLocked(resetBy(true, http2.ErrCodeRefusedStream, cause))
			c.forgetLocked(st, false)
		}
	}
	c.endIfUnusedLocked()
	return nil
}
