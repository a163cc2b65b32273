package h2

import (
	"context"

	"culvert/proxy/codec"
	"culvert/proxy/network"

	"golang.org/x/net/http2"
)

// ClientPreface is what a client sends first (RFC 9113 §3.4).
const ClientPreface = http2.ClientPreface

// ServeConn serves HTTP/2 with prior knowledge, or after ALPN, on nc, which it
// owns. h is called on a goroutine of its own for each request. ServeConn
// returns when the connection is over and every h has returned: nil if it ended
// in order, else why. When ctx ends the connection drains: a GOAWAY of two
// phases (RFC 9113 §6.8), no new streams, and the open ones have
// cfg.DrainTimeout to finish.
//
// The context h is given has ctx's values and ends when this side closes the
// connection under its streams, not when a stream is reset: what came before a
// reset is still to be delivered. What should not outlive the stream, a dial
// made for it, uses Stream.Context.
func ServeConn(ctx context.Context, nc network.Conn, cfg Config, h codec.ServerHandler) error {
	c := newConn(nc, cfg, true)
	c.handler = h
	c.base, c.endBase = context.WithCancelCause(context.WithoutCancel(ctx))
	defer c.endBase(nil)
	stop := context.AfterFunc(ctx, c.drain)
	defer stop()
	return c.run()
}

// serverStream is a stream in the role of the server.
type serverStream struct{ *stream }

// headersDone acts on a complete header block.
func (c *conn) headersDone(l *headerList) error {
	if !c.server {
		return c.responseDone(l)
	}
	id := c.block.id
	c.mu.Lock()
	defer c.mu.Unlock()
	if id <= c.maxID {
		return c.trailersLocked(l)
	}
	if c.closed {
		return errStreamClosed // the connection ended while its last bytes were read
	}
	c.maxID = id
	if c.goaway.ignores(id) {
		return nil
	}
	req, err := c.admitRequestLocked(l)
	if err != nil {
		return c.refuseLocked(err)
	}
	st := c.newStream(id)
	st.head, st.headed = req, true
	st.blockArrivedLocked()
	if n, ok := contentLength(req.Header); ok && req.Method != "CONNECT" {
		st.declared = n
	}
	c.addStreamLocked(st)
	if req.EndStream {
		st.recvEnd = true
	}
	c.handlers++
	c.wg.Go(func() { c.serve(st) }) // ends when the handler does
	return nil
}

// admitRequestLocked is the request, or why it is refused.
func (c *conn) admitRequestLocked(l *headerList) (*codec.Request, error) {
	id := c.block.id
	switch {
	case len(c.streams) >= c.cfg.MaxConcurrentStreams, c.handlers >= 2*c.cfg.MaxConcurrentStreams:
		// Handlers outlive streams that were reset: they count too, or resets
		// would buy more of them than the limit.
		return nil, streamError(id, http2.ErrCodeRefusedStream, "too many streams")
	case l.over:
		return nil, streamError(id, http2.ErrCodeEnhanceYourCalm, "header list is too large")
	}
	req, problem := l.request(c.block.endStream, c.cfg.AllowConnect)
	if problem != "" {
		return nil, streamError(id, http2.ErrCodeProtocol, problem)
	}
	return req, nil
}

// refuseLocked resets a stream that never was, and counts it as one that was
// reset early.
func (c *conn) refuseLocked(err error) error {
	se := err.(*StreamError)
	if se.Code == http2.ErrCodeProtocol {
		c.stats.MessagingError.Inc()
	}
	if err := c.queueProvokedResetLocked(se.StreamID, se.Code); err != nil {
		return err
	}
	if se.Code == http2.ErrCodeRefusedStream && !c.overdrawnLocked() {
		return nil
	}
	return c.flood.overLocked(c.stats, 0, true)
}

// overdrawnLocked reports a client that opens more streams than it may, and knows
// it. One that is refused for what its former streams still do does not.
func (c *conn) overdrawnLocked() bool {
	return c.peer.acked && len(c.streams) >= c.cfg.MaxConcurrentStreams
}

// refuseHeaders refuses the stream whose header block has just come.
func (c *conn) refuseHeaders(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.server || c.block.id <= c.maxID {
		return err
	}
	c.maxID = c.block.id
	return c.refuseLocked(err)
}

// trailersLocked takes a header block on a stream that has its head.
func (c *conn) trailersLocked(l *headerList) error {
	id := c.block.id
	st, err := c.findLocked(id)
	switch {
	case err != nil:
		return err
	case st == nil && (c.resets.has(id) || c.goaway.ignores(id)):
		c.stats.HeadersNoStream.Inc()
		return nil
	case st == nil:
		c.stats.HeadersNoStream.Inc()
		return connError(http2.ErrCodeStreamClosed, "HEADERS on a closed stream")
	case st.recvEnd:
		return streamError(id, http2.ErrCodeStreamClosed, "HEADERS after END_STREAM")
	case !c.block.endStream:
		return streamError(id, http2.ErrCodeProtocol, "trailers without END_STREAM") // CVE-2026-73513
	case l.over:
		return streamError(id, http2.ErrCodeEnhanceYourCalm, "trailers are too large")
	case l.malformed != "":
		return streamError(id, http2.ErrCodeProtocol, l.malformed)
	case len(l.pseudo) > 0:
		return streamError(id, http2.ErrCodeProtocol, "pseudo-header in trailers")
	case st.declared > 0:
		return streamError(id, http2.ErrCodeProtocol, "DATA does not match content-length")
	}
	c.stats.Trailers.Inc()
	st.blockArrivedLocked()
	st.trailers = l.fields
	st.recvEndedLocked()
	return nil
}

// serve runs the handler of one request.
func (c *conn) serve(st *stream) {
	c.handler(c.base, serverStream{st})
	c.mu.Lock()
	c.handlers--
	switch {
	case st.released:
	case st.sendEnd && st.head.Method != "CONNECT":
		st.closeLocked(http2.ErrCodeNo, errHandlerDone)
	default:
		st.closeLocked(http2.ErrCodeInternal, errHandlerDone)
	}
	c.mu.Unlock()
}

// EarlyData reports whether payload of a tunnel has come and waits unread: before
// the answer, that of a client which did not wait for it (RFC 9931).
func (s serverStream) EarlyData() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.head.AsksTunnel() && !s.queue.empty()
}

// WriteResponse sends a head. Informational ones come first, then one final.
func (s serverStream) WriteResponse(res *codec.Response) error {
	st := s.stream
	st.writing.Lock()
	defer st.writing.Unlock()
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.headSent {
		return errHeadSent
	}
	if err := st.writeErrLocked(); err != nil && err != errNoResponseHead {
		return err
	}
	if err := c.roomLocked(st); err != nil {
		return err
	}
	end := res.EndStream && !res.Informational()
	if err := c.encodeResponseLocked(res); err != nil {
		return err
	}
	if !res.Informational() && c.cfg.Ending != nil && c.cfg.Ending() {
		c.turnAwayLocked()
	}
	c.queueBlockLocked(st, end)
	st.headSent = !res.Informational()
	if end {
		st.sendEndedLocked()
	}
	c.flushIfFreeLocked()
	return nil
}

// roomLocked waits until what is queued has gone out, if that is much.
func (c *conn) roomLocked(st *stream) error {
	if len(c.w.pending) <= maxPending {
		return nil
	}
	stopped := func() error {
		if err := st.writeErrLocked(); err != errNoResponseHead {
			return err
		}
		return nil
	}
	if err := c.lockWriter(&st.turn, stopped); err != nil {
		return err
	}
	c.writeLocked(nil, nil)
	return stopped()
}
