package tunnel

import (
	"net"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// NewConn makes an established HTTP stream a byte stream and owns it: Close and
// Abort release it. Trailers of the peer end its direction as END_STREAM does.
// Where the stream moves chunks, the Conn does.
func NewConn(s codec.Stream) network.Conn {
	c := &conn{s: s}
	c.queue, _ = s.(network.SendQueue)
	r, canRead := s.(network.ChunkReader)
	w, canWrite := s.(network.ChunkWriter)
	if canRead && canWrite {
		return &chunkConn{conn: c, ChunkReader: r, ChunkWriter: w}
	}
	return c
}

// conn is a stream that only knows Read and Write.
type conn struct {
	s     codec.Stream
	queue network.SendQueue // nil if the stream cannot tell
}

// chunkConn is a stream that also moves owned chunks.
type chunkConn struct {
	*conn
	network.ChunkReader
	network.ChunkWriter
}

func (c *conn) Read(p []byte) (int, error)  { return c.s.Read(p) }
func (c *conn) Write(p []byte) (int, error) { return c.s.Write(p) }
func (c *conn) CloseWrite() error           { return c.s.CloseWrite() }

// Abort resets with CONNECT_ERROR, which is what RFC 9113 §8.5 and RFC 9114
// §4.4 give a tunnelled TCP connection that was reset.
func (c *conn) Abort(cause error) {
	c.s.Reset(codec.CodeConnect, cause)
	_ = c.s.Close() // only releases: both directions are over
}

// Close is silent after both ends; before that it is an Abort.
func (c *conn) Close() error {
	c.s.Reset(codec.CodeConnect, net.ErrClosed)
	return c.s.Close()
}

// Unsent is what the peer has not acknowledged; 0 where the stream cannot tell.
func (c *conn) Unsent() int {
	if c.queue == nil {
		return 0
	}
	return c.queue.Unsent()
}

func (c *conn) LocalAddr() net.Addr  { return c.s.LocalAddress() }
func (c *conn) RemoteAddr() net.Addr { return c.s.RemoteAddress() }

func (c *conn) SetDeadline(t time.Time) error {
	if err := c.s.SetReadDeadline(t); err != nil {
		return err
	}
	return c.s.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error  { return c.s.SetReadDeadline(t) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.s.SetWriteDeadline(t) }
