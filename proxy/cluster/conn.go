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
	info   *network.StreamInfo
	opened time.Time
	once   sync.Once
}

// count makes conn give back its place when it is over. The place in the
// breaker is already taken.
func (c *Cluster) count(conn network.Conn, info *network.StreamInfo) network.Conn {
	c.n.cxActive.Inc()
	return &countedConn{Conn: conn, c: c, info: info, opened: time.Now()}
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
	n.cxActive.Dec()
	n.cxDestroy.Inc()
	n.cxLengthMs.RecordDuration(time.Since(c.opened))
	n.cxTxBytes.Add(c.info.Meter.BytesReceived())
	n.cxRxBytes.Add(c.info.Meter.BytesSent())
	c.c.breaker.connections.release()
}
