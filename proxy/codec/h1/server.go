package h1

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// ServeConn serves HTTP/1.1 on nc, which it owns, and calls h for one request
// after the other. It returns when the connection is over: nil if it ended in
// order, else why (*MessageError in the chain for a message that broke a rule;
// it has been answered). When ctx ends the connection drains: the exchange under
// way is its last and has cfg.DrainTimeout to finish. A connection that has only
// just begun is given the time to bring its first: it is on its way, and its
// sender has been told nothing.
//
// The context h is given has ctx's values and ends when this side closes the
// connection under its stream. When h returns, nobody may use the stream any
// more.
func ServeConn(ctx context.Context, nc network.Conn, cfg Config, h codec.ServerHandler) error {
	s := &server{handler: h}
	s.init(nc, cfg, true)
	if s.cfg.DrainTimeout > freshTime {
		s.fresh = time.Now().Add(freshTime)
	}
	s.asks = s.isDraining
	s.base, s.end = context.WithCancelCause(context.WithoutCancel(ctx))
	defer s.end(nil)
	stop := context.AfterFunc(ctx, s.drain)
	defer stop()
	err := s.run()
	s.stopDrain()
	s.wg.Wait()
	return err
}

// server is a connection in the role of the server.
type server struct {
	conn
	handler codec.ServerHandler
	fresh   time.Time       // when the first request is too late for a drain
	base    context.Context // of the streams
	end     context.CancelCauseFunc
	served  uint64      // requests so far; owned by run
	asks    func() bool // isDraining

	mu       sync.Mutex
	idle     bool // no byte of the next request has come
	draining bool
	woken    bool // drain has woken the reader of the next head
	deadline *time.Timer
	current  *stream
}

// freshTime is how long after its beginning a connection that drains is still
// waited for to bring its first request.
const freshTime = time.Second

// Ends of a connection that are in order.
var (
	errIdleTimeout = errors.New("idle timeout")
	errDrained     = errors.New("drained")
)

func (s *server) run() error {
	for {
		more, err := s.exchange()
		switch {
		case err != nil:
			return err
		case !more:
			return nil
		}
	}
}

// exchange reads a request and has it served. more: another may follow.
func (s *server) exchange() (more bool, err error) {
	s.in.charge(nil)
	text, err := s.readHead()
	if err != nil {
		return false, s.headFailed(err)
	}
	req, err := s.parseRequest(text)
	if err != nil {
		return false, s.refuse(err.(*MessageError)) //nolint:errorlint // parseRequest says so
	}
	s.served++
	st := s.newStream(req, len(text))
	s.handler(s.base, serverStream{st})
	return s.finish(st)
}

// readHead reads the next head, however long it takes to begin within
// IdleTimeout, and then within HeadTimeout.
func (s *server) readHead() (string, error) {
	b := block{blank: maxBlankLines, first: s.cfg.MaxRequestLine, max: s.cfg.MaxHeadBytes}
	timed := false
	text, err := s.in.readBlock(&b, func(begun bool) error {
		switch {
		case !begun:
			timed = false // what came was an empty line
			return s.enterIdle()
		case !timed:
			timed = true
			s.leaveIdle()
			return s.clock.set(after(s.cfg.HeadTimeout))
		}
		return nil
	})
	s.leaveIdle()
	if cerr := s.clock.set(time.Time{}); err == nil {
		err = cerr
	}
	if err == nil || b.begun {
		return text, headError(err)
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && s.isDraining():
		err = errDrained
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = errIdleTimeout
	}
	return "", err
}

// headError is an error within a head.
func headError(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return lost(ErrTruncated)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrHeadTimeout
	}
	return err
}

// after is the time d from now, none if d is 0.
func after(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}

func (s *server) enterIdle() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining && !s.isFreshLocked() {
		return errDrained
	}
	s.idle = true
	if s.draining {
		return s.clock.set(s.fresh)
	}
	return s.clock.set(after(s.cfg.IdleTimeout))
}

// isFreshLocked may be asked by run, and by others while it is idle: served
// changes behind leaveIdle.
func (s *server) isFreshLocked() bool { return s.served == 0 && time.Now().Before(s.fresh) }

func (s *server) leaveIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = false
	if s.woken {
		s.woken = false
		s.clock.resume()
	}
}

func (s *server) isDraining() bool {
	if s.cfg.Ending != nil && s.cfg.Ending() {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// headFailed ends a connection that brought no head. What is in order is nil.
func (s *server) headFailed(err error) error {
	var broken *MessageError
	switch {
	case errors.As(err, &broken):
		if errors.Is(err, ErrHeadTimeout) && s.cfg.HeadTimedOut != nil {
			s.cfg.HeadTimedOut()
		}
		return s.refuse(broken)
	case errors.Is(err, io.EOF), errors.Is(err, errIdleTimeout), errors.Is(err, errDrained):
		s.linger()
		return nil
	}
	s.nc.Abort(err)
	return err
}

// refuse answers a message that breaks a rule, and ends the connection: nobody
// knows where the next one begins.
func (s *server) refuse(e *MessageError) error {
	res := &codec.Response{Status: e.Status}
	res.Header.Add("date", time.Now().UTC().Format(dateFormat))
	a := answer{close: true, zero: true}
	if e.Status == 426 {
		a.protocol = "HTTP/1.1" // RFC 9110 §15.5.22
	}
	buf, err := s.appendResponse(nil, res, a)
	if err == nil && s.nc.SetWriteDeadline(after(s.cfg.LingerTimeout)) == nil {
		_, err = s.nc.Write(buf)
	}
	if err != nil {
		s.nc.Abort(e)
		return e
	}
	s.linger()
	return e
}

// linger ends the connection without losing the last answer: a socket that is
// closed with bytes unread resets what it has sent (RFC 9112 §9.6).
func (s *server) linger() {
	if err := s.nc.CloseWrite(); err == nil && s.cfg.LingerTimeout > 0 {
		_ = s.clock.set(after(s.cfg.LingerTimeout))
		for left := maxDiscard; left > 0; {
			p, err := s.in.view()
			if err != nil {
				break
			}
			left -= len(p)
			s.in.advance(len(p))
		}
	}
	_ = s.nc.Close()
}

// drain makes the exchange under way the last.
func (s *server) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return
	}
	s.draining = true
	switch {
	case !s.idle:
	case s.isFreshLocked():
		_ = s.clock.set(s.fresh) // fails only on a closed connection
	default:
		s.woken = true
		s.clock.wake()
	}
	s.deadline = time.AfterFunc(max(s.cfg.DrainTimeout, 1), s.drainExpired)
}

func (s *server) drainExpired() {
	s.mu.Lock()
	st := s.current
	s.mu.Unlock()
	s.end(ErrDrainTimeout)
	if st != nil {
		st.connLost(&network.ResetError{Err: ErrDrainTimeout})
	}
	s.nc.Abort(ErrDrainTimeout)
}

func (s *server) stopDrain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true // a drain that comes now is too late
	if s.deadline != nil {
		s.deadline.Stop()
	}
}

func (s *server) setCurrent(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = st
}

// finish ends an exchange whose handler has returned. more: the connection is
// fit for another.
func (s *server) finish(st *stream) (more bool, err error) {
	s.setCurrent(nil)
	if !st.isReleased() {
		st.handlerReturned()
	}
	st.mu.Lock()
	fault := st.unansweredFaultLocked()
	aborted, last, switched := st.aborted, st.last, st.switched
	whole, cause, recvErr := st.sendEnd && st.recvErr == nil, st.cause, st.recvErr
	woke := st.woke
	st.mu.Unlock()
	if woke {
		s.clock.resume()
	}
	switch {
	case aborted:
		return false, cause
	case fault != nil:
		return false, s.refuse(fault)
	case switched:
		_ = s.nc.Close() // both directions have ended
		return false, nil
	case whole && !last && !s.isDraining() && s.discard(st):
		return true, s.clock.set(time.Time{})
	}
	s.linger()
	return false, recvErr
}

// discard skips what is left of a request that was answered without it, within
// bounds. It reports whether the request is over.
func (s *server) discard(st *stream) bool {
	if st.in.over() {
		return true
	}
	_ = s.clock.set(after(s.cfg.LingerTimeout))
	for left := maxDiscard; left > 0; {
		n, err := st.in.next()
		if err != nil {
			return errors.Is(err, io.EOF)
		}
		n = min(n, left)
		s.in.advance(n)
		st.in.took(n)
		left -= n
	}
	return false
}

// handlerReturned ends what a handler has left open.
func (st *stream) handlerReturned() {
	st.Reset(codec.CodeInternal, &network.ResetError{Err: errHandlerDone})
	_ = st.Close()
}
