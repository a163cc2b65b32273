package cluster

import (
	"sync"
	"time"

	"culvert/proxy/network"
)

// countedConn is a raw connection that counts until it is over. It only
// observes: Relay looks through it.
type countedConn struct {
	network.Conn
	c      *Cluster
	host   *host
	info   *network.StreamInfo
	opened time.Time
	limit  *time.Timer // max_stream_duration; may be nil
	once   sync.Once
}

// count makes conn give back its place when it is over. The place in the
// breaker is already taken. A raw connection counts as one request, as in
// Envoy.
func (c *Cluster) count(conn network.Conn, h *host, info *network.StreamInfo) *countedConn {
	c.n.cxActive.Inc()
	c.n.rqTotal.Inc()
	c.n.rqActive.Inc()
	h.n.cxActive.Add(1)
	h.n.rqTotal.Add(1)
	h.n.rqActive.Add(1)
	return &countedConn{Conn: conn, c: c, host: h, info: info, opened: time.Now()}
}

// Unwrap lets Relay find the end beneath.
func (c *countedConn) Unwrap() network.Conn { return c.Conn }

func (c *countedConn) Close() error {
	defer c.once.Do(c.over)
	return c.Conn.Close()
}

func (c *countedConn) Abort(cause error) {
	defer c.once.Do(c.over)
	c.Conn.Abort(cause)
}

func (c *countedConn) over() {
	n := c.c.n
	if c.limit != nil {
		c.limit.Stop()
	}
	n.cxActive.Dec()
	n.rqActive.Dec()
	c.host.n.cxActive.Add(-1)
	c.host.n.rqActive.Add(-1)
	n.cxDestroy.Inc()
	n.cxLengthMs.RecordDuration(time.Since(c.opened))
	n.cxTxBytes.Add(c.info.Meter.BytesReceived())
	n.cxRxBytes.Add(c.info.Meter.BytesSent())
	c.c.breaker.connections.release()
}
