package hcm

import (
	"sync"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"
	"culvert/proxy/route"
)

// startTimers starts the bounds of the exchange, each of which ends its life with
// the reply it would get.
func (e *exchange) startTimers() (stop func()) {
	opt := &e.hcm.opt
	e.idle.exchange = e
	e.idle.set(opt.streamIdle)
	if opt.streamIdleSet {
		e.tunnelIdle = opt.streamIdle
	}
	e.startRequestTimer()
	if opt.maxStream <= 0 {
		return func() { e.whole.stop(); e.idle.stop() }
	}
	longest := time.AfterFunc(opt.maxStream, func() {
		e.hcm.counts.rqMaxDuration.Inc()
		e.life.End(maxDuration())
	})
	return func() { longest.Stop(); e.whole.stop(); e.idle.stop() }
}

// setIdleTimeout lets the route's idle timeout replace the connection
// manager's.
func (e *exchange) setIdleTimeout(r *route.Route) {
	if r.Forward == nil || !r.Forward.IdleTimeoutSet {
		return
	}
	e.tunnelIdle = r.Forward.IdleTimeout
	e.idle.set(r.Forward.IdleTimeout)
}

func streamIdle() *codec.LocalReply {
	return &codec.LocalReply{
		Status: 408, Body: "stream timeout", Flags: network.FlagSI,
		Details: "stream_idle_timeout", Reason: network.ReasonTimeout,
	}
}

func maxDuration() *codec.LocalReply {
	return &codec.LocalReply{
		Status: 408, Body: "downstream duration timeout", Flags: network.FlagDT,
		Details: "max_duration_timeout", Reason: network.ReasonTimeout,
	}
}

// aborted is the end of an exchange whose connection we end under it.
func aborted(cause error) *codec.LocalReply {
	return &codec.LocalReply{
		Status: 503, Flags: network.FlagDC, Details: "downstream_local_disconnect", Reason: network.ReasonCanceled, Err: cause,
	}
}

// idleTimer ends its exchange when the meter has seen nothing for so long.
type idleTimer struct {
	exchange *exchange

	mu    sync.Mutex
	after time.Duration
	timer *time.Timer // nil while there is no bound
}

// set starts counting anew with another bound; 0 is none.
func (t *idleTimer) set(after time.Duration) {
	t.stop()
	if after <= 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.exchange.Info.Meter.Touch()
	t.after = after
	t.timer = time.AfterFunc(after, t.check)
}

func (t *idleTimer) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
}

func (t *idleTimer) check() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer == nil {
		return
	}
	if left := t.after - t.exchange.Info.Meter.Idle(); left > 0 {
		t.timer.Reset(left)
		return
	}
	t.timer = nil
	t.exchange.life.End(streamIdle())
}
