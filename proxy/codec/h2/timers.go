package h2

import (
	"errors"
	"sync/atomic"
	"time"

	"culvert/proxy/network"

	"golang.org/x/net/http2"
)

// ErrKeepalive means that the peer did not answer a PING in time.
var ErrKeepalive = errors.New("HTTP/2 keepalive timeout")

// keepalivePing is the PING that asks whether the peer is there.
var keepalivePing = [8]byte{'a', 'l', 'i', 'v', 'e'}

// timers are the connection's clocks. Guarded by conn.mu, but for lastRead.
type timers struct {
	start    time.Time
	lastRead atomic.Int64 // when the reading goroutine last waited, ns since start

	preface, settings, drain, goaway, unused, keepalive, head *time.Timer

	slow   uint32        // stream whose head is not whole; 0: none
	asked  time.Duration // when the outstanding PING was queued, since start; 0: none
	unsent int           // bytes the peer had not acknowledged then
}

func (t *timers) stop() {
	for _, x := range []*time.Timer{t.preface, t.settings, t.drain, t.goaway, t.unused, t.keepalive, t.head} {
		if x != nil {
			x.Stop()
		}
	}
}

// startTimersLocked arms what bounds the beginning.
func (c *conn) startTimersLocked() {
	expire := func(reason string) func() {
		return func() { c.fail(connError(http2.ErrCodeSettingsTimeout, reason)) }
	}
	c.timers.preface = newTimer(c.cfg.PrefaceTimeout, expire("no preface in time"))
	c.timers.settings = newTimer(c.cfg.SettingsTimeout, expire("no acknowledgement of SETTINGS in time"))
	if len(c.streams) == 0 {
		c.startIdleLocked()
	}
	if c.closed { // before run was called
		c.timers.stop()
	}
}

// newTimer is a timer that never fires if d is 0.
func newTimer(d time.Duration, fn func()) *time.Timer {
	if d > 0 {
		return time.AfterFunc(d, fn)
	}
	t := time.AfterFunc(time.Hour, func() {})
	t.Stop()
	return t
}

// startIdleLocked bounds how long the connection is kept without a stream.
func (c *conn) startIdleLocked() {
	switch d := c.cfg.IdleTimeout; {
	case d == 0:
	case c.timers.unused == nil:
		c.timers.unused = time.AfterFunc(d, c.idleExpired)
	default:
		c.timers.unused.Reset(d)
	}
}

func (c *conn) idleExpired() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.streams) == 0 {
		c.drainLocked()
	}
}

// busyLocked is called for each new stream: the connection is used, and its
// peer had better be there.
func (c *conn) busyLocked() {
	if c.timers.unused != nil {
		c.timers.unused.Stop()
	}
	if c.cfg.KeepaliveInterval == 0 || len(c.streams) != 1 {
		return
	}
	c.timers.asked = 0
	c.checkAliveLocked()
}

// checkAlive is the keepalive timer.
func (c *conn) checkAlive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checkAliveLocked()
}

// checkAliveLocked asks a silent peer, and gives it up when it stays silent.
// Anything received is a sign of life; so is anything acknowledged beneath us,
// since a PING may wait behind much on a slow link. Without streams nobody
// asks.
func (c *conn) checkAliveLocked() {
	if c.closed || len(c.streams) == 0 {
		return
	}
	now := time.Since(c.timers.start)
	last := time.Duration(c.timers.lastRead.Load())
	if c.timers.asked != 0 && last < c.timers.asked {
		if wait := c.cfg.KeepaliveTimeout - (now - c.timers.asked); wait > 0 {
			c.armKeepaliveLocked(wait)
			return
		}
		left := c.unsentBytes()
		if left == 0 || left >= c.timers.unsent {
			c.stats.KeepaliveTimeout.Inc()
			c.failLocked(ErrKeepalive)
			return
		}
		c.timers.asked, c.timers.unsent = now, left
		c.armKeepaliveLocked(c.cfg.KeepaliveTimeout)
		return
	}
	if silent := now - last; silent < c.cfg.KeepaliveInterval {
		c.timers.asked = 0
		c.armKeepaliveLocked(c.cfg.KeepaliveInterval - silent)
		return
	}
	c.timers.asked, c.timers.unsent = now, c.unsentBytes()
	c.w.pending = appendPing(c.w.pending, false, keepalivePing)
	c.wakeFlusherLocked()
	c.armKeepaliveLocked(c.cfg.KeepaliveTimeout)
}

// doubtAfter is how long the answer to a PING may take before the peer may just
// as well be gone.
const doubtAfter = 500 * time.Millisecond

// Doubted reports that the peer has been asked for a sign of life and has given
// none yet: until it does, streams are better opened on another connection.
func (cc *ClientConn) Doubted() bool {
	c := cc.c
	c.mu.Lock()
	defer c.mu.Unlock()
	asked := c.timers.asked
	return asked != 0 && time.Duration(c.timers.lastRead.Load()) < asked && time.Since(c.timers.start)-asked > doubtAfter
}

func (c *conn) armKeepaliveLocked(d time.Duration) {
	if c.timers.keepalive == nil {
		c.timers.keepalive = time.AfterFunc(d, c.checkAlive)
		return
	}
	c.timers.keepalive.Reset(d)
}

// unsentBytes is what the transport has not seen acknowledged; 0 if it cannot
// say.
func (c *conn) unsentBytes() int {
	var nc network.Conn = c.nc
	for {
		if q, ok := nc.(network.SendQueue); ok {
			return q.Unsent()
		}
		u, ok := nc.(network.Unwrapper)
		if !ok {
			return 0
		}
		nc = u.Unwrap()
	}
}

// readPing answers a PING, or takes the answer to ours.
func (c *conn) readPing(h frameHeader, data [8]byte) error {
	if h.id != 0 {
		return connError(http2.ErrCodeProtocol, "PING on a stream")
	}
	if h.flags&http2.FlagPingAck != 0 {
		if data == drainPing {
			c.drainSeen()
		}
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.w.pending = appendPing(c.w.pending, true, data)
	c.wakeFlusherLocked()
	return c.queueControlLocked()
}
