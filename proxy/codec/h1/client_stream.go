package h1

import (
	"context"
	"errors"
	"io"
	"os"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// clientStream is an exchange in the role of the client.
type clientStream struct {
	*stream
	cc     *ClientConn
	reused bool // the connection has carried an exchange before
	behind bool // and the server may still be reading that

	withdrawn bool // guarded by the stream's mu

	// belongs to the reader
	block         block // the head on its way in
	informational int
}

// ReadResponse waits for the next head. ctx bounds the wait only: a head that
// was interrupted goes on with the next call.
func (s *clientStream) ReadResponse(ctx context.Context) (*codec.Response, error) {
	if err := s.responseErr(); err != nil {
		return nil, err
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		s.c.clock.wake()
		close(interrupted)
	})
	text, err := s.c.in.readBlock(&s.block, nil)
	if !stop() {
		<-interrupted
		s.c.clock.resume()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, context.Cause(ctx)
		}
	}
	if err != nil {
		return nil, s.noResponse(err)
	}
	s.c.in.tookHeader(len(text))
	s.block = s.cc.newHead()
	res, err := s.c.parseResponse(text, s.head)
	if err == nil && res.Informational() {
		if s.informational++; s.informational > maxInformational {
			err = bad("too many informational responses")
		}
	}
	if err != nil {
		return nil, s.noResponse(err)
	}
	s.begin(res)
	return res.Response, nil
}

// newHead is a response head to come.
func (cc *ClientConn) newHead() block {
	return block{first: cc.cfg.MaxHeadBytes, max: cc.cfg.MaxHeadBytes, start: "HTTP/1."}
}

func (s *clientStream) responseErr() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.cause != nil:
		return s.cause
	case s.answered:
		return errHeadRead
	case s.recvErr != nil:
		return s.recvErr
	}
	return nil
}

// begin notes what a head makes of the exchange.
func (s *clientStream) begin(res *response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if res.Informational() {
		return
	}
	s.in.start(s.c, res.body)
	s.answered = true
	s.last = s.last || res.close || res.body.kind == untilClose
	s.recvEnd = s.in.over()
	switch {
	case res.body.kind == rawBody:
		s.switched = true
		s.payloadFollows()
	case s.tunnel:
		s.sendEnd = true // refused: there is nothing to send
	}
}

// noResponse is what became of an answer that did not come whole.
func (s *clientStream) noResponse(err error) error {
	begun := s.block.begun
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.cause != nil:
		return s.cause
	case errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case errors.Is(err, io.EOF):
		err = lost(ErrTruncated)
	}
	if !begun && s.reused && s.informational == 0 && idempotent(s.head) && network.IsReset(err) {
		// A connection that was left idle too long, by all that can be seen; the
		// request may be sent again anyhow (RFC 9112 §9.3.1).
		err = errors.Join(err, ErrConnClosed)
	}
	return s.loseLocked(err)
}

// idempotent reports whether sending a request twice is as sending it once (RFC
// 9110 §9.2.2), and nothing of it is lost by the first try.
func idempotent(r *codec.Request) bool {
	if r.Repeatable {
		return true
	}
	if !r.EndStream || r.AsksTunnel() {
		return false
	}
	switch r.Method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}

// Reset ends the exchange, and the connection: as a reset, but for a request
// behind a tunnel that was whole. While the server has not answered, the end of
// that may still be on its way, and Close sees to it that it arrives.
func (s *clientStream) Reset(code codec.Code, cause error) {
	if !s.withdraw(cause) {
		s.stream.Reset(code, cause)
	}
}

// withdraw is Reset without an effect on the connection, if that may wait.
func (s *clientStream) withdraw(cause error) bool {
	if !s.behind || !s.head.Repeatable || network.Unsent(s.cc.nc) == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answered || s.released || s.cause != nil || s.sendErr != nil || s.recvErr != nil {
		return false
	}
	if cause == nil {
		cause = &network.ResetError{Err: errStreamClosed}
	}
	s.withdrawn = s.resetLocked(cause)
	return s.withdrawn
}

// Close releases the stream, and the connection for the next if the exchange
// was whole.
func (s *clientStream) Close() error {
	first := !s.isReleased()
	s.withdraw(nil)
	_ = s.stream.Close()
	if first {
		s.cc.finished(s)
		if s.cc.cfg.StreamClosed != nil {
			s.cc.cfg.StreamClosed()
		}
	}
	return nil
}
