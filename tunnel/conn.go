package tunnel

import (
	"net"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// NewConn makes an established HTTP stream a byte stream and owns it: Close and
// Abort release it. Trailers of the peer end its direction as END_STREAM does.
// Where the stream moves chunks, the Conn does; where the stream is the
// connection itself, an HTTP/1.1 CONNECT's, the Conn unwraps to that.
func NewConn(s codec.Stream) network.Conn { return newConn(s, nil) }

// newConn is NewConn of a stream whose answer is known.
func newConn(s codec.Stream, answer *codec.Response) network.Conn {
	stream := stream{s, answer}
	if t, ok := s.(interface{ TunnelConn() network.Conn }); ok {
		if raw := t.TunnelConn(); raw != nil {
			return &rawConn{raw, stream}
		}
	}
	c := &conn{stream: stream}
	c.queue, _ = s.(network.SendQueue)
	r, canRead := s.(network.ChunkReader)
	w, canWrite := s.(network.ChunkWriter)
	if !canRead || !canWrite {
		return c
	}
	chunks := &chunkConn{conn: c, ChunkReader: r, ChunkWriter: w}
	if p, ok := s.(network.ChunkPoller); ok {
		return &pollConn{chunks, p.PollChunk}
	}
	return chunks
}

// stream is what every kind of Conn knows of its stream beside the bytes.
type stream struct {
	s      codec.Stream
	answer *codec.Response
}

// Answer is the head that opened the tunnel; nil on the side that answered.
func (s stream) Answer() *codec.Response { return s.answer }

// Trailers are the peer's, after its direction ended; nil if there are none.
func (s stream) Trailers() codec.Fields { return s.s.Trailers() }

// conn is a stream that only knows Read and Write.
type conn struct {
	stream
	queue network.SendQueue // nil if the stream cannot tell
}

// chunkConn is a stream that also moves owned chunks.
type chunkConn struct {
	*conn
	network.ChunkReader
	network.ChunkWriter
}

// pollConn is a stream whose chunks need not be waited for.
type pollConn struct {
	*chunkConn
	poll func(ready func()) (*network.Chunk, error)
}

// PollChunk implements network.ChunkPoller.
func (c *pollConn) PollChunk(ready func()) (*network.Chunk, error) { return c.poll(ready) }

func (c *conn) Read(p []byte) (int, error)  { return c.s.Read(p) }
func (c *conn) Write(p []byte) (int, error) { return c.s.Write(p) }
func (c *conn) CloseWrite() error           { return c.s.CloseWrite() }

// Abort resets with CONNECT_ERROR, which is what RFC 9113 §8.5 and RFC 9114
// §4.4 give a tunnelled TCP connection that was reset. HTTP/1.1 has no codes:
// the message is broken off.
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

// Held is what the stream holds for a reader that is slow.
func (c *conn) Held() int {
	if h, ok := c.s.(network.Holder); ok {
		return h.Held()
	}
	return 0
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

// rawConn is a stream that is the connection: Relay finds it beneath.
type rawConn struct {
	network.Conn
	stream
}

// Unwrap is the connection, behind what was read ahead of it.
func (c *rawConn) Unwrap() network.Conn { return c.Conn }

// Abort resets the connection; over TLS without a close_notify.
func (c *rawConn) Abort(cause error) {
	c.Conn.Abort(cause)
	_ = c.s.Close() // only releases
}

// Close is silent after both ends; before that it is an Abort.
func (c *rawConn) Close() error {
	err := c.Conn.Close()
	_ = c.s.Close() // only releases
	return err
}
