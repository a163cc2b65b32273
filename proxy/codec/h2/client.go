package h2

import (
	"context"
	"fmt"

	"culvert/proxy/codec"
	"culvert/proxy/network"

	"golang.org/x/net/http2"
)

// maxInformational bounds the informational heads that wait to be read.
const maxInformational = 16

// maxWaiting is how much may wait to be written before a connection counts as
// full, bytes.
const maxWaiting = 1 << 20

// ClientConn is a connection in the role of the client. Its methods are safe
// from any goroutine.
type ClientConn struct{ c *conn }

// NewClientConn makes a client of nc, which it owns from the call of Run on.
// It starts nothing.
func NewClientConn(nc network.Conn, cfg Config) *ClientConn {
	c := newConn(nc, cfg, false)
	return &ClientConn{c}
}

// Run serves the connection until its end and returns why it ended, nil if that
// was in order. When ctx ends the connection is closed with its cause. It is
// called once.
func (cc *ClientConn) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { cc.Close(context.Cause(ctx)) })
	defer stop()
	return cc.c.run()
}

// Done is closed when Run is over.
func (cc *ClientConn) Done() <-chan struct{} { return cc.c.done }

// ActiveStreams is the number of streams that are not over.
func (cc *ClientConn) ActiveStreams() int {
	cc.c.mu.Lock()
	defer cc.c.mu.Unlock()
	return len(cc.c.streams)
}

// CanOpen reports whether OpenStream would find room now.
func (cc *ClientConn) CanOpen() bool {
	cc.c.mu.Lock()
	defer cc.c.mu.Unlock()
	return cc.c.roomForStreamLocked() == nil
}

// Room is how many streams OpenStream would take now.
func (cc *ClientConn) Room() int {
	cc.c.mu.Lock()
	defer cc.c.mu.Unlock()
	if cc.c.roomForStreamLocked() != nil {
		return 0
	}
	return cc.c.peer.maxStreams - len(cc.c.streams)
}

// Drain takes no new streams and closes the connection when the open ones are
// over.
func (cc *ClientConn) Drain() { cc.c.drain() }

// Close ends the connection and its streams at once; cause is in the chain of
// what they are told. It does not wait.
func (cc *ClientConn) Close(cause error) { cc.c.fail(&closedError{cause}) }

// roomForStreamLocked is why no stream can be opened; nil if one can.
func (c *conn) roomForStreamLocked() error {
	switch {
	case c.closed:
		return ErrConnClosed
	case c.goaway.finished():
		return ErrDraining
	case c.maxID >= maxWindow-1:
		return ErrDraining // stream numbers are used up (RFC 9113 §5.1.1)
	case len(c.streams) >= c.peer.maxStreams, len(c.w.pending) > maxWaiting:
		return ErrNoCapacity
	}
	return nil
}

// OpenStream opens a stream and sends req. An error with codec.ErrNotProcessed
// in its chain says that another connection may be tried. An extended CONNECT
// waits, within ctx, for the peer's SETTINGS and fails with
// ErrNoExtendedConnect if it is not offered.
func (cc *ClientConn) OpenStream(ctx context.Context, req *codec.Request) (codec.ClientStream, error) {
	c := cc.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if req.Method == "CONNECT" && req.Protocol != "" {
		if err := c.waitSettledLocked(ctx); err != nil {
			return nil, err
		}
		if !c.peer.connect {
			return nil, ErrNoExtendedConnect
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if err := c.roomForStreamLocked(); err != nil {
		return nil, err
	}
	if err := c.encodeRequestLocked(req); err != nil {
		return nil, fmt.Errorf("request head: %w", err)
	}
	if c.maxID == 0 {
		c.maxID = 1
	} else {
		c.maxID += 2
	}
	st := c.newStream(c.maxID)
	st.head = req
	c.addStreamLocked(st)
	c.queueBlockLocked(st, req.EndStream)
	if req.EndStream {
		st.sendEndedLocked()
	}
	c.flushIfFreeLocked()
	if c.closed && st.sendErr != nil {
		return nil, st.sendErr // it did not go out whole
	}
	return clientStream{st}, nil
}

// waitSettledLocked waits for the peer's first SETTINGS.
func (c *conn) waitSettledLocked(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.peer.settled.Broadcast()
	})
	defer stop()
	for !c.peer.seen {
		switch {
		case c.closed:
			return ErrConnClosed
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		c.peer.settled.Wait()
	}
	return nil
}

// clientStream is a stream in the role of the client.
type clientStream struct{ *stream }

// ReadResponse waits for the next head. ctx bounds the wait only.
func (s clientStream) ReadResponse(ctx context.Context) (*codec.Response, error) {
	st, c := s.stream, s.c
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		st.readable.Broadcast()
	})
	defer stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case st.cause != nil:
			return nil, st.cause
		case len(st.responses) > 0:
			res := st.responses[0]
			st.responses = st.responses[1:]
			return res, nil
		case st.headed:
			return nil, errHeadRead
		case st.recvErr != nil:
			return nil, st.recvErr
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case st.readBy.err() != nil:
			return nil, st.readBy.err()
		}
		st.readable.Wait()
	}
}

// responseDone acts on a complete header block from a server.
func (c *conn) responseDone(l *headerList) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := c.block.id
	st, err := c.findLocked(id)
	if err != nil || st == nil || st.headed {
		return c.trailersLocked(l)
	}
	if l.over {
		return streamError(id, http2.ErrCodeEnhanceYourCalm, "header list is too large")
	}
	res, problem := l.response(c.block.endStream)
	switch {
	case problem != "":
		return streamError(id, http2.ErrCodeProtocol, problem)
	case len(st.responses) >= maxInformational:
		return streamError(id, http2.ErrCodeEnhanceYourCalm, "too many informational responses")
	}
	st.blockArrivedLocked()
	st.responses = append(st.responses, res)
	st.headed = !res.Informational()
	if n, ok := contentLength(res.Header); ok && st.headed && st.hasBody(res) {
		if res.EndStream && n != 0 {
			return streamError(id, http2.ErrCodeProtocol, "DATA does not match content-length")
		}
		st.declared = n
	}
	st.wakeReaderLocked()
	if res.EndStream {
		st.recvEndedLocked()
	}
	return nil
}

// hasBody reports whether a response's content-length speaks of its DATA (RFC
// 9110 §6.4.1).
func (st *stream) hasBody(res *codec.Response) bool {
	switch {
	case st.head.Method == "HEAD", res.Status == 304:
		return false
	case st.head.Method == "CONNECT" && res.Success():
		return false
	}
	return true
}
