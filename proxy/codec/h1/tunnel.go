package h1

import (
	"net"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// TunnelConn is the connection beneath an established tunnel, for whoever moves
// its payload: nil before the answer, and where there is no tunnel. It takes the
// place of the stream's Read and Write; the stream ends with it and is still to
// be closed. What was read ahead comes first. If there is nothing of that, the
// Conn is a network.Unwrapper, and bytes may be moved beneath it; then the
// stream's Context does not learn how a direction ended, only Close and Abort.
func (st *stream) TunnelConn() network.Conn {
	st.mu.Lock()
	up := st.switched && st.cause == nil
	st.mu.Unlock()
	if !up {
		return nil
	}
	st.stopWatching()
	t := tunnelConn{st}
	if st.c.in.buffered() > 0 || st.c.in.ended() != nil {
		return &aheadConn{t}
	}
	return &bareConn{t}
}

// stopWatching keeps the watcher of a leaving peer from reading what may be
// payload: whoever takes the tunnel finds the connection with nothing read ahead.
func (st *stream) stopWatching() {
	st.c.clock.wake()
	st.c.in.hold()
	st.c.clock.resume()
}

// tunnelConn is the verbs that both kinds share.
type tunnelConn struct{ st *stream }

func (t tunnelConn) CloseWrite() error { return t.st.CloseWrite() }

// Abort aborts the connection, and the stream with cause.
func (t tunnelConn) Abort(cause error) {
	if cause == nil {
		cause = net.ErrClosed
	}
	t.st.Reset(codec.CodeConnect, cause)
}

func (t tunnelConn) Unsent() int                        { return t.st.Unsent() }
func (t tunnelConn) LocalAddr() net.Addr                { return t.st.c.nc.LocalAddr() }
func (t tunnelConn) RemoteAddr() net.Addr               { return t.st.c.nc.RemoteAddr() }
func (t tunnelConn) SetReadDeadline(at time.Time) error { return t.st.SetReadDeadline(at) }
func (t tunnelConn) SetWriteDeadline(at time.Time) error {
	return t.st.SetWriteDeadline(at)
}

func (t tunnelConn) SetDeadline(at time.Time) error {
	if err := t.SetReadDeadline(at); err != nil {
		return err
	}
	return t.SetWriteDeadline(at)
}

// aheadConn is a tunnel of which something was read ahead: it goes through the
// stream.
type aheadConn struct{ tunnelConn }

func (c *aheadConn) Read(p []byte) (int, error)            { return c.st.Read(p) }
func (c *aheadConn) ReadChunk() (*network.Chunk, error)    { return c.st.ReadChunk() }
func (c *aheadConn) Write(p []byte) (int, error)           { return c.st.Write(p) }
func (c *aheadConn) WriteChunk(chunk *network.Chunk) error { return c.st.WriteChunk(chunk) }

// Close is silent after both directions ended, else an Abort.
func (c *aheadConn) Close() error {
	c.Abort(nil)
	return nil
}

// bareConn is a tunnel that is nothing but the connection.
type bareConn struct{ tunnelConn }

func (c *bareConn) Read(p []byte) (int, error)  { return c.st.Read(p) }
func (c *bareConn) Write(p []byte) (int, error) { return c.st.Write(p) }

// Unwrap is the connection.
func (c *bareConn) Unwrap() network.Conn { return c.st.c.nc }

// Close is the connection's own, which is silent after both directions ended.
func (c *bareConn) Close() error {
	c.st.bareClosed()
	return c.st.c.nc.Close()
}

// bareClosed takes it that the peer's direction was read to its end by whoever
// moved the bytes.
func (st *stream) bareClosed() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.cause != nil {
		return
	}
	st.sendEnd, st.recvEnd, st.eofRead = true, true, true
	st.overLocked(codec.ErrEnded)
}
