package h2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// clientPreface is what a client says first (RFC 9113 §3.4).
const clientPreface = http2.ClientPreface

// goodbyeTimeout bounds how long a connection that ends by its own decision
// tries to get its GOAWAY through and waits for the peer to hang up.
const goodbyeTimeout = time.Second

// conn is an HTTP/2 connection in either role.
type conn struct {
	// immutable
	nc            network.Conn
	cfg           Config
	stats         *Stats
	server        bool
	handler       codec.ServerHandler // server
	base          context.Context     // the connection's life, parent of the streams'
	endBase       context.CancelCauseFunc
	local, remote network.Address

	// owned by the reading goroutine
	src    *source
	dec    *hpack.Decoder
	block  headerBlock
	woken  []*stream // have bytes their readers were not yet told of
	empty  int       // consecutive frames without payload
	window bool      // the first SETTINGS has come

	wg sync.WaitGroup // the flusher and the handlers

	mu sync.Mutex
	// guarded by mu
	streams  map[uint32]*stream
	handlers int // server: handlers that have not returned
	w        writer
	send     sendFlow
	recv     recvFlow
	peer     peerSettings
	henc     *hpack.Encoder
	hbuf     bytes.Buffer // henc writes here
	maxID    uint32       // highest stream the peer (server) or we (client) opened
	resets   resetMemory
	goaway   goawayState
	flood    floodState
	timers   timers
	closed   bool
	ending   bool  // the reading goroutine queues nothing more
	err      error // why it closed; nil for a clean end
	done     chan struct{}
}

func newConn(nc network.Conn, cfg Config, server bool) *conn {
	cfg = cfg.withDefaults(server)
	c := &conn{
		nc: nc, cfg: cfg, stats: cfg.Stats, server: server,
		local:   network.AddressOf(nc.LocalAddr()),
		remote:  network.AddressOf(nc.RemoteAddr()),
		streams: make(map[uint32]*stream),
		done:    make(chan struct{}),
	}
	c.base, c.endBase = context.WithCancelCause(context.Background())
	c.src = newSource(nc, c.beforeRead)
	c.dec = hpack.NewDecoder(uint32(cfg.HeaderTableSize), nil)
	c.henc = hpack.NewEncoder(&c.hbuf)
	c.henc.SetMaxDynamicTableSizeLimit(uint32(cfg.HeaderTableSize))
	c.timers.start = time.Now()
	c.w.init(c)
	c.send.window = minWindow
	c.recv.window = minWindow
	c.peer.init(&c.mu)
	c.flood.init(cfg)
	c.queuePreface()
	return c
}

// queuePreface says first what our side of the connection is.
func (c *conn) queuePreface() {
	if !c.server {
		c.w.pending = append(c.w.pending, clientPreface...)
	}
	c.w.pending = appendSettings(c.w.pending, c.ownSettings()...)
	if more := c.cfg.ConnWindow - c.recv.window; more > 0 {
		c.w.pending = appendWindowUpdate(c.w.pending, 0, more)
		c.recv.window += more
	}
}

// run reads the connection until its end and returns why it ended, nil if that
// was in order. When it returns nothing of the connection is running.
func (c *conn) run() error {
	c.wg.Go(c.flushLoop) // ends when the connection is closed and all is written
	c.mu.Lock()
	c.startTimersLocked()
	c.wakeFlusherLocked()
	c.mu.Unlock()

	err := c.readPreface()
	if err == nil {
		err = c.readFrames()
	}
	c.fail(err)
	c.mu.Lock()
	c.ending = true
	c.wakeFlusherLocked()
	c.mu.Unlock()
	c.goodbye()
	c.wg.Wait()
	c.src.release()
	close(c.done)
	return c.err
}

// fail ends the connection with err, nil for an end in order. Only the first
// call counts. Streams fail at once; run does the rest.
func (c *conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failLocked(err)
}

func (c *conn) failLocked(err error) {
	if c.closed {
		return
	}
	if err == io.EOF {
		err = c.endOfInputLocked()
	}
	c.closed, c.err = true, err
	c.timers.stop()
	var local *closedError
	if errors.As(err, &local) {
		c.endBase(err)
	}
	loss := c.lossLocked(err)
	for _, st := range c.streams {
		st.loseLocked(c.toldLocked(st, loss))
		c.forgetLocked(st, false)
	}
	c.sayGoodbyeLocked(err)
	c.peer.settled.Broadcast()
	c.wakeFlusherLocked()
	// Ends the read that run waits in; goodbye moves the deadline again.
	_ = c.nc.SetReadDeadline(time.Unix(1, 0))
}

// endOfInputLocked judges the peer's hanging up: in order if nothing was open.
func (c *conn) endOfInputLocked() error {
	if len(c.streams) == 0 && c.window {
		return nil
	}
	return io.ErrUnexpectedEOF
}

// lossLocked is what the streams are told about the end of their connection.
func (c *conn) lossLocked(err error) error {
	if err == nil {
		err = ErrConnClosed
	}
	var local *closedError
	return resetBy(!errors.As(err, &local), 0, err)
}

// toldLocked is what one stream is told. A tunnel that was asked for on a
// connection from which nothing has come since had asked nobody, by all that can
// be seen: the connection had died while nobody used it. Nothing but the head of
// the request has gone out, so that it may be asked for once more. The request for
// which a connection was made is none of these, nor are those before its peer has
// said a word.
func (c *conn) toldLocked(st *stream, loss error) error {
	heard := time.Duration(c.timers.lastRead.Load())
	madeFor := (st.id == 1 || !c.peer.seen) && !c.cfg.MadeAhead
	if c.server || madeFor || st.headed || !st.head.Repeatable || heard > st.opened {
		return loss
	}
	return fmt.Errorf("%w: %w", loss, errUnheard)
}

// goodbye lets the last frames out and waits for the peer to hang up, so that
// our closing does not destroy them on their way; both within goodbyeTimeout.
// A connection that failed beneath us is aborted at once.
func (c *conn) goodbye() {
	c.mu.Lock()
	err, polite := c.err, c.politeLocked()
	c.w.broken = c.w.broken || !polite
	c.mu.Unlock()
	if !polite {
		c.nc.Abort(err)
		return
	}
	kill := time.AfterFunc(goodbyeTimeout, func() { c.nc.Abort(err) })
	defer kill.Stop()
	c.mu.Lock()
	for !c.w.flushedLocked() {
		c.w.drained.Wait()
	}
	c.mu.Unlock()
	if c.nc.CloseWrite() == nil {
		_ = c.nc.SetReadDeadline(time.Now().Add(goodbyeTimeout))
		_ = c.src.discard(maxLinger) // ends with the peer, or with its welcome
	}
	_ = c.nc.Close() // nothing is left that could fail
}

// maxLinger is how much of what the peer still sends is read and thrown away,
// bytes.
const maxLinger = 4 << 20

// politeLocked reports whether the transport still works as far as we know.
func (c *conn) politeLocked() bool {
	var ce *ConnError
	var local *closedError
	return c.err == nil || errors.As(c.err, &ce) || errors.As(c.err, &local)
}

// closedError is an end our own side decided on, for cause.
type closedError struct{ cause error }

func (e *closedError) Error() string {
	if e.cause == nil {
		return "connection closed"
	}
	return "connection closed: " + e.cause.Error()
}

func (e *closedError) Unwrap() error { return e.cause }

// addStreamLocked makes a stream live.
func (c *conn) addStreamLocked(st *stream) {
	c.streams[st.id] = st
	c.stats.StreamsActive.Add(1)
	c.busyLocked()
	c.flood.opened()
}

// forgetLocked removes a stream that is over in both directions or reset.
// provoked: the peer reset it, or had it reset.
func (c *conn) forgetLocked(st *stream, provoked bool) {
	if st.gone {
		return
	}
	st.gone = true
	delete(c.streams, st.id)
	c.stats.StreamsActive.Add(-1)
	if c.server && !c.closed {
		if err := c.flood.overLocked(c.stats, time.Since(c.timers.start)-st.opened, provoked); err != nil {
			c.failLocked(err)
		}
	}
	if len(c.streams) == 0 {
		c.noStreamsLocked()
	}
}

// noStreamsLocked ends a connection that only waited for its streams, or starts
// its idle time.
func (c *conn) noStreamsLocked() {
	if c.goaway.finished() {
		c.failLocked(nil)
		return
	}
	if !c.closed {
		c.startIdleLocked()
	}
}
