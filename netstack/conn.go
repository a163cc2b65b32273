package netstack

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"culvert/proxy/network"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Keepalive of a captured connection, whose application may vanish with its
// machine: two minutes until it is noticed.
const (
	keepaliveIdle     = 60 * time.Second
	keepaliveInterval = 15 * time.Second
	keepaliveCount    = 4
)

// conn is an endpoint of the stack as a network.Conn. It also moves chunks
// (conn_chunk.go).
type conn struct {
	// immutable once attached
	ep            tcpip.Endpoint
	queue         waiter.Queue
	events        waiter.Entry
	readable      chan struct{} // gets a token with each event
	writable      chan struct{}
	poller        poller
	local, remote net.Addr
	readBy        network.Deadline
	writeBy       network.Deadline

	reading sync.Mutex  // held by the one who reads
	writing sync.Mutex  // held by the one who writes
	filling chunkWriter // guarded by reading
	payload payload     // guarded by writing

	mu       sync.Mutex
	closed   chan struct{} // closed with cause set
	cause    error         // guarded by mu: what pending and later calls return
	ended    bool          // guarded by mu: EOF was read
	finished bool          // guarded by mu: FIN was sent
}

var (
	_ network.Conn        = (*conn)(nil)
	_ network.ChunkPoller = (*conn)(nil)
	_ network.ChunkWriter = (*conn)(nil)
	_ network.SendQueue   = (*conn)(nil)
	_ network.Holder      = (*conn)(nil)
)

func newConn(id stack.TransportEndpointID) *conn {
	return &conn{local: tcpAddr(destination(id)), remote: tcpAddr(source(id)), closed: make(chan struct{})}
}

// attach takes the endpoint, whose queue is c's. Events are asked for before
// the first read or write, so none is missed; each leaves a token, so one
// between a look and the wait for it is not missed either.
func (c *conn) attach(ep tcpip.Endpoint) {
	c.ep = ep
	c.readable, c.writable = make(chan struct{}, 1), make(chan struct{}, 1)
	c.events.Init(c, readEvents|writeEvents)
	c.queue.EventRegister(&c.events)
	o := ep.SocketOptions()
	o.SetDelayOption(false)
	o.SetKeepAlive(true)
	idle, interval := tcpip.KeepaliveIdleOption(keepaliveIdle), tcpip.KeepaliveIntervalOption(keepaliveInterval)
	// These fail only for values the stack does not take.
	_ = ep.SetSockOpt(&idle)
	_ = ep.SetSockOpt(&interval)
	_ = ep.SetSockOptInt(tcpip.KeepaliveCountOption, keepaliveCount)
}

const (
	readEvents  = waiter.ReadableEvents | waiter.EventRdHUp | waiter.EventHUp | waiter.EventErr
	writeEvents = waiter.WritableEvents | waiter.EventHUp | waiter.EventErr
)

// NotifyEvent is called by the endpoint, which may hold its lock.
func (c *conn) NotifyEvent(mask waiter.EventMask) {
	if mask&readEvents != 0 {
		leave(c.readable)
		c.poller.wake()
	}
	if mask&writeEvents != 0 {
		leave(c.writable)
	}
}

// leave leaves a token, if none is there.
func leave(token chan<- struct{}) {
	select {
	case token <- struct{}{}:
	default:
	}
}

// Read reads what is there, or waits.
func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.reading.Lock()
	defer c.reading.Unlock()
	for {
		if err := c.usable(&c.readBy); err != nil {
			return 0, err
		}
		w := tcpip.SliceWriter(p)
		res, err := c.ep.Read(&w, tcpip.ReadOptions{})
		if err == nil {
			return res.Count, nil
		}
		if err := c.readError(err); err != nil {
			return 0, err
		}
		if err := c.wait(c.readable, &c.readBy); err != nil {
			return 0, err
		}
	}
}

// Write queues all of p, waiting for room as the application acknowledges.
func (c *conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	done := 0
	for done < len(p) {
		if err := c.usable(&c.writeBy); err != nil {
			return done, err
		}
		c.payload = p[done:min(len(p), done+maxSegment)]
		n, err := c.ep.Write(&c.payload, tcpip.WriteOptions{})
		c.payload = nil
		done += int(n)
		if err == nil {
			continue
		}
		if err := c.writeError(err); err != nil {
			return done, err
		}
		if err := c.wait(c.writable, &c.writeBy); err != nil {
			return done, err
		}
	}
	return done, nil
}

// usable is why nothing can be read or written now, if so.
func (c *conn) usable(d *network.Deadline) error {
	select {
	case <-c.closed:
		return c.closeCause()
	case <-d.Passed():
		return os.ErrDeadlineExceeded
	default:
		return nil
	}
}

func (c *conn) wait(ready <-chan struct{}, d *network.Deadline) error {
	select {
	case <-ready:
		return nil
	case <-c.closed:
		return c.closeCause()
	case <-d.Passed():
		return os.ErrDeadlineExceeded
	}
}

func (c *conn) closeCause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// readError says what an error of Endpoint.Read means; nil: wait.
func (c *conn) readError(err tcpip.Error) error {
	switch err.(type) {
	case *tcpip.ErrWouldBlock:
		return nil
	case *tcpip.ErrClosedForReceive:
		// The endpoint reports an error once, to whoever asks first, which may
		// be the writer. In the error state this is no clean end.
		if tcp.EndpointState(c.ep.State()) == tcp.StateError && !c.sawEnd() {
			return c.failed(resetBy(err))
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.cause != nil {
			return c.cause
		}
		c.ended = true
		return io.EOF
	}
	return c.failed(typed(err))
}

func (c *conn) sawEnd() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// writeError says what an error of Endpoint.Write means; nil: wait.
func (c *conn) writeError(err tcpip.Error) error {
	switch err.(type) {
	case *tcpip.ErrWouldBlock:
		return nil
	case *tcpip.ErrClosedForSend:
		c.mu.Lock()
		finished := c.finished
		c.mu.Unlock()
		if finished {
			return fmt.Errorf("write after CloseWrite: %w", io.ErrClosedPipe)
		}
		return c.failed(resetBy(err)) // after its FIN the application sent RST
	}
	return c.failed(typed(err))
}

// failed returns err, or the cause of our own Abort that made it.
func (c *conn) failed(err error) error {
	if cause := c.closeCause(); cause != nil {
		return cause
	}
	return err
}

func resetBy(err tcpip.Error) error {
	return &network.ResetError{Remote: true, Err: errors.New(err.String())}
}

// typed turns an error of the endpoint's into one of Go's.
func typed(err tcpip.Error) error {
	switch err.(type) {
	case *tcpip.ErrConnectionReset, *tcpip.ErrAborted, *tcpip.ErrConnectionAborted, *tcpip.ErrNotConnected:
		return resetBy(err)
	case *tcpip.ErrTimeout:
		return fmt.Errorf("application does not answer: %w", syscall.ETIMEDOUT)
	case *tcpip.ErrHostUnreachable, *tcpip.ErrNetworkUnreachable:
		return fmt.Errorf("%s: %w", err, syscall.EHOSTUNREACH)
	}
	return errors.New(err.String())
}

// CloseWrite sends FIN behind what was written. An application that is already
// gone has nothing left to be told.
func (c *conn) CloseWrite() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if cause := c.closeCause(); cause != nil {
		return cause
	}
	c.mu.Lock()
	c.finished = true
	c.mu.Unlock()
	switch err := c.ep.Shutdown(tcpip.ShutdownWrite); err.(type) {
	case nil, *tcpip.ErrNotConnected:
		return nil
	default:
		return typed(err)
	}
}

// Abort sends RST; what is queued is lost.
func (c *conn) Abort(cause error) {
	if cause == nil {
		cause = net.ErrClosed
	}
	if c.close(cause) {
		c.ep.Abort()
	}
}

// Close is silent once both directions have ended; the stack goes on
// delivering what is queued. Before that it is an Abort.
func (c *conn) Close() error {
	c.mu.Lock()
	clean := c.ended && c.finished
	c.mu.Unlock()
	if !clean {
		c.Abort(net.ErrClosed)
		return nil
	}
	if c.close(net.ErrClosed) {
		c.ep.Close()
	}
	return nil
}

// close notes why; false if it was closed before.
func (c *conn) close(cause error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return false
	}
	c.cause = cause
	close(c.closed)
	c.poller.wake()
	return true
}

// LocalAddr is the destination the application asked for.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is the application's address.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines.
func (c *conn) SetDeadline(t time.Time) error {
	c.readBy.Set(t)
	c.writeBy.Set(t)
	return nil
}

// SetReadDeadline bounds pending and later reads.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.readBy.Set(t)
	return nil
}

// SetWriteDeadline bounds pending and later writes.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.writeBy.Set(t)
	return nil
}
