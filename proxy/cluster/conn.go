package cluster

import (
	"sync"
	"sync/atomic"
	"time"

	"culvert/proxy/network"
)

// countedConn is a raw connection that counts until it is over: places when it is
// aborted or closed, bytes when it is closed, which Relay does in any case. It only
// observes: Relay looks through it.
type countedConn struct {
	network.Conn
	c      *Cluster
	host   *host
	info   *network.StreamInfo
	opened time.Time
	limit  *time.Timer // max_stream_duration; may be nil
	ended  sync.Once
	closed sync.Once
	cause  atomic.Pointer[error] // of the first Abort
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

// Close also settles the bytes: whoever moved them has counted all.
func (c *countedConn) Close() error {
	defer c.closed.Do(c.settle)
	defer c.ended.Do(c.over)
	return c.Conn.Close()
}

func (c *countedConn) Abort(cause error) {
	c.cause.CompareAndSwap(nil, &cause)
	defer c.ended.Do(c.over)
	c.Conn.Abort(cause)
}

// AbortCause is why the connection was aborted, nil if it was not: the socket
// below does not tell whoever reads from it.
func (c *countedConn) AbortCause() error {
	if cause := c.cause.Load(); cause != nil {
		return *cause
	}
	return nil
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
	c.c.breaker.connections.release()
}

func (c *countedConn) settle() {
	c.c.n.cxTxBytes.Add(c.info.Meter.BytesReceived())
	c.c.n.cxRxBytes.Add(c.info.Meter.BytesSent())
}
