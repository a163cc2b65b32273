package h2

import (
	"time"

	"culvert/proxy/codec"

	"golang.org/x/net/http2"
)

// dateFormat is an IMF-fixdate (RFC 9110 §5.6.7) of a time in UTC.
const dateFormat = "Mon, 02 Jan 2006 15:04:05 GMT"

// headBegun starts the time that the head of a request may take. Until it is
// whole nothing else can come on the connection (RFC 9113 §4.3).
func (c *conn) headBegun(id uint32) {
	if !c.server || c.cfg.HeadTimeout == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || id <= c.maxID || c.goaway.ignores(id) {
		return
	}
	c.timers.slow = id
	c.timers.head = time.AfterFunc(c.cfg.HeadTimeout, func() { c.headExpired(id) })
}

// headWhole ends it.
func (c *conn) headWhole() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timers.slow = 0
	if c.timers.head != nil {
		c.timers.head.Stop()
	}
}

func (c *conn) headExpired(id uint32) {
	c.mu.Lock()
	mine := c.timers.slow == id && !c.closed
	if mine {
		c.answerSlowLocked(id)
	}
	c.mu.Unlock()
	if mine && c.cfg.HeadTimedOut != nil {
		c.cfg.HeadTimedOut()
	}
}

// answerSlowLocked answers a request whose head did not come in time. What still
// comes of it is decoded and thrown away; it has as long again to end, or the
// connection, on which nothing else can come, ends too.
func (c *conn) answerSlowLocked(id uint32) {
	res := &codec.Response{Status: 408, EndStream: true}
	res.Header.Add("date", time.Now().UTC().Format(dateFormat))
	if err := c.encodeResponseLocked(res); err != nil {
		c.failLocked(err) // the peer's settings leave no room for it
		return
	}
	c.maxID = id
	c.queueBlockLocked(c.newStream(id), true)
	c.queueResetLocked(id, http2.ErrCodeNo)
	c.timers.head = time.AfterFunc(c.cfg.HeadTimeout, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.timers.slow == id {
			c.failLocked(connError(http2.ErrCodeEnhanceYourCalm, "a header block without end"))
		}
	})
}
