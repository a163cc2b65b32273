package hcm

import (
	"io"

	"culvert/proxy/network"
)

// withReader is c with what filters made of its input; c itself where they made
// nothing of it, so that Relay finds the bare end.
func withReader(c network.Conn, r io.Reader) network.Conn {
	if r == nil {
		return c
	}
	return &filteredConn{c, r}
}

type filteredConn struct {
	network.Conn
	r io.Reader
}

func (c *filteredConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// meter counts what a handler we cannot see moves over c. It does not unwrap, or
// nobody would count: it is the path, and moves chunks where c does, or what is
// beneath it.
func meter(c network.Conn, m *network.Meter) network.Conn {
	counted := &meteredConn{Conn: c, meter: m}
	r, canRead := network.Beneath[network.ChunkReader](c)
	w, canWrite := network.Beneath[network.ChunkWriter](c)
	if canRead && canWrite {
		return &meteredChunkConn{counted, r, w}
	}
	return counted
}

type meteredConn struct {
	network.Conn
	meter *network.Meter
}

func (c *meteredConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.meter.Received(n)
	return n, err
}

func (c *meteredConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.meter.Sent(n)
	return n, err
}

// Unsent is what the peer has not acknowledged, 0 where the conn cannot tell.
func (c *meteredConn) Unsent() int {
	if q, ok := network.Beneath[network.SendQueue](c.Conn); ok {
		return q.Unsent()
	}
	return 0
}

type meteredChunkConn struct {
	*meteredConn
	r network.ChunkReader
	w network.ChunkWriter
}

func (c *meteredChunkConn) ReadChunk() (*network.Chunk, error) {
	chunk, err := c.r.ReadChunk()
	if err == nil {
		c.meter.Received(len(chunk.Data))
	}
	return chunk, err
}

func (c *meteredChunkConn) WriteChunk(chunk *network.Chunk) error {
	n := len(chunk.Data)
	err := c.w.WriteChunk(chunk)
	if err == nil {
		c.meter.Sent(n)
	}
	return err
}
