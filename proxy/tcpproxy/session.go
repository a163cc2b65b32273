package tcpproxy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"culvert/proxy/accesslog"
	"culvert/proxy/network"
)

// session is one flow on its way through the filter. It belongs to the flow's
// goroutine.
type session struct {
	p    *TCPProxy
	flow network.Flow
	info *network.StreamInfo

	began    time.Time
	idle     time.Duration // 0: none
	duration time.Duration // of the whole session, 0: no bound

	answered func()     // ends the bounds of the connect, which was answered
	early    *earlyData // nil: the flow is not accepted before its far half is open
}

// ServeFlow connects a flow to the far end and serves it to its end.
func (p *TCPProxy) ServeFlow(ctx context.Context, f network.Flow) error {
	s := &session{p: p, flow: f, info: f.Info(), began: time.Now(), duration: p.maxDuration}
	s.idle = p.idleFor(s.info)
	if d := int64(float64(p.maxDuration) * p.jitter); d > 0 {
		s.duration += time.Duration(p.random(d + 1))
	}
	p.n.total.Inc()
	if p.logOptions.onStart {
		p.record(s.info, accesslog.TcpConnectionStart)
	}
	err := s.serve(ctx)
	if s.early != nil {
		s.early.lost(nil)
	}
	p.n.rxBytes.Add(s.info.Meter.BytesReceived())
	p.n.txBytes.Add(s.info.Meter.BytesSent())
	p.record(s.info, accesslog.TcpConnectionEnd)
	return err
}

func (s *session) serve(ctx context.Context) error {
	down, up, err := s.join(ctx)
	if down == nil {
		return err
	}
	return s.relay(ctx, down, up)
}

// join opens the far half, and accepts the flow. Without a down nothing is left
// to be relayed.
func (s *session) join(ctx context.Context) (down, up network.Conn, err error) {
	if proceed, err := s.begin(ctx); !proceed {
		return nil, nil, err
	}
	s.p.hash.note(s.info)
	s.p.proxyTLVs.note(s.info)
	up, err = s.connect(ctx)
	switch {
	case errors.Is(err, errServed):
		return nil, nil, s.info.Cause
	case err != nil:
		s.p.complain(s.info, err)
		s.reject(err)
		return nil, nil, err
	}
	down, err = s.accept(ctx)
	if err != nil {
		up.Abort(err)
		err = network.WithReason(network.ReasonCanceled, fmt.Errorf("accept: %w", err))
		s.info.Fail(err)
		return nil, nil, err
	}
	s.connected()
	return down, up, nil
}

// errServed: the flow was passed to an internal listener, which served it.
var errServed = errors.New("served by an internal listener")

// connect opens the far half, in as many attempts as are allowed. It ends when
// whoever asked goes away, or has waited too long; then there is no other
// attempt.
func (s *session) connect(ctx context.Context) (network.Conn, error) {
	within, cancel := s.whileAwaited(ctx)
	defer cancel()
	for n := 1; ; n++ {
		s.info.Attempts = n
		conn, handler, err := s.p.open(within, s.info)
		if err == nil && handler != nil {
			err = s.passOn(ctx, within, handler)
		}
		if err == nil || errors.Is(err, errServed) {
			return conn, err
		}
		if within.Err() != nil {
			return nil, s.gaveUp(within, err)
		}
		flag := network.FlagFor(err)
		s.info.Flags |= flag
		if flag&network.FlagUF == 0 { // nothing was tried: another attempt tries nothing either
			s.info.TerminationDetails = failureDetail(flag)
			return nil, err
		}
		if n >= s.p.attempts {
			s.info.Flags |= network.FlagURX
			s.p.attemptsExceeded(s.info)
			s.info.TerminationDetails = failureDetail(flag)
			return nil, err
		}
		s.p.deps.Log.Debug("connect attempt failed", "flow", s.info.ID, "attempt", n, "error", err)
		if s.p.wait(within, n) != nil {
			return nil, s.gaveUp(within, err)
		}
	}
}

// whileAwaited is the context of the attempts: it ends with the handler's, when
// the peer gives up, and when a bound of the session is reached.
func (s *session) whileAwaited(ctx context.Context) (context.Context, context.CancelFunc) {
	within := network.NewLife(s.peer())
	stops := []func() bool{network.AfterEnd(ctx, func() { within.End(context.Cause(ctx)) })}
	bound := func(d time.Duration, cause error) {
		if d > 0 {
			stops = append(stops, time.AfterFunc(d, func() { within.End(network.WithReason(network.ReasonTimeout, cause)) }).Stop)
		}
	}
	bound(s.idle, network.ErrIdleTimeout)
	bound(s.duration, network.ErrMaxDuration)
	s.answered = func() {
		for _, stop := range stops[1:] {
			stop()
		}
	}
	return within, func() {
		s.answered()
		stops[0]()
		within.End(nil)
	}
}

// gaveUp is the end of a connect that nobody waits for any longer: the peer
// went away, the session's time is over, or culvert ends.
func (s *session) gaveUp(within context.Context, err error) error {
	cause := context.Cause(within)
	switch {
	case s.timedOut(cause):
	case s.peer().Err() != nil:
		cause = network.WithReason(network.ReasonCanceled, cause)
		s.info.Flags |= network.FlagDC
	}
	// The last attempt is told to a person only: its reason is not ours.
	return fmt.Errorf("connect given up: %w (last attempt: %s)", cause, fmt.Sprint(err))
}

// timedOut notes that a bound of the session ended it.
func (s *session) timedOut(err error) bool {
	switch {
	case errors.Is(err, network.ErrIdleTimeout):
		s.p.n.idleTimeout.Inc()
		s.info.TerminationDetails = "tcp_session_idle_timeout"
	case errors.Is(err, network.ErrMaxDuration):
		s.p.n.maxDuration.Inc()
		s.info.Flags |= network.FlagDT
		s.info.TerminationDetails = "max_connection_duration_reached"
	default:
		return false
	}
	return true
}

// failureDetail is Envoy's word for a flow that found no upstream, spelling
// included.
func failureDetail(flag network.Flag) string {
	n := 0
	switch {
	case flag&network.FlagUH != 0:
		n = 1
	case flag&network.FlagUO != 0:
		n = 2
	case flag&network.FlagNC != 0:
		n = 3
	}
	return fmt.Sprintf("tcp_initializion_failure:%d", n)
}

// connected notes that the flow was answered yes.
func (s *session) connected() {
	if s.p.logOptions.onConnected {
		s.p.record(s.info, accesslog.TcpUpstreamConnected)
	}
}

// relay moves the bytes until both sides are done.
func (s *session) relay(ctx context.Context, down, up network.Conn) error {
	stop := s.startPeriodicLog()
	res := network.Relay(ctx, down, up, s.bounds())
	stop()
	if s.p.tunnel != nil {
		s.p.tunnel.propagate.ended(s.info, up)
	}
	s.ended(res)
	return res.Err
}

func (s *session) bounds() network.RelayOptions {
	opt := network.RelayOptions{Meter: &s.info.Meter, IdleTimeout: s.idle, HalfCloseTimeout: halfCloseIdle}
	if 0 < s.idle && s.idle < halfCloseIdle {
		opt.HalfCloseTimeout = s.idle
	}
	if s.duration > 0 {
		opt.MaxDuration = max(s.duration-time.Since(s.began), 1)
	}
	return opt
}

// startPeriodicLog returns how to end it.
func (s *session) startPeriodicLog() func() {
	if s.p.logOptions.interval <= 0 {
		return func() {}
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { s.p.logPeriodically(s.info, done) }) // ends with done
	return func() {
		close(done)
		wg.Wait()
	}
}

// ended notes how the relay ended.
func (s *session) ended(res network.RelayResult) {
	if res.Err == nil {
		return
	}
	s.info.Cause = res.Err
	if s.timedOut(res.Err) {
		return
	}
	switch {
	case errors.Is(res.Err, network.ErrOverload):
		s.info.Flags |= network.FlagOM
	case res.Downstream == network.EndReset:
		s.info.Flags |= network.FlagDR
		s.info.TerminationDetails = "closing_upstream_tcp_connection_due_to_downstream_reset_close"
	case res.Upstream == network.EndReset:
		s.info.Flags |= network.FlagUR
	case res.Downstream == network.EndError:
		s.info.Flags |= network.FlagDC
	case res.Upstream == network.EndError:
		s.info.Flags |= network.FlagUC
	}
}
