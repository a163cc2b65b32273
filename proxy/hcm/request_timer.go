package hcm

import (
	"sync"
	"time"

	"culvert/proxy/accesslog"
	"culvert/proxy/codec"
	"culvert/proxy/format"
	"culvert/proxy/network"
)

// requestTimer bounds how long a request may take to come whole. It ends with
// the request, or with its answer if that comes before.
type requestTimer struct {
	mu      sync.Mutex
	stopped bool
	timer   *time.Timer // nil while there is no bound
}

func (e *exchange) startRequestTimer() {
	t, after := &e.whole, e.hcm.opt.request
	if after <= 0 || e.Request.EndStream {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer = time.AfterFunc(after, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.stopped || peerEnded(e.Stream) {
			return
		}
		e.hcm.counts.rqTimeout.Inc()
		e.life.End(requestTimeout())
	})
}

// stop disarms it; when it returns the timer has fired or never will.
func (t *requestTimer) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	if t.timer != nil {
		t.timer.Stop()
	}
}

// peerEnded reports whether all of a request has come, where its codec can tell.
func peerEnded(s codec.Stream) bool {
	p, ok := s.(interface{ PeerEnded() bool })
	return ok && p.PeerEnded()
}

func requestTimeout() *codec.LocalReply {
	return &codec.LocalReply{
		Status: 408, Body: "request timeout", Details: "request_overall_timeout", Reason: network.ReasonTimeout,
	}
}

// headTimedOut counts and records a request whose head took too long. The codec
// has answered it; no exchange came of it.
func (c *connection) headTimedOut() {
	info := c.info.Child(c.hcm.deps.Flows.NextID())
	info.Kind, info.ResponseCode, info.Details = network.KindExchange, 408, "request_header_timeout"
	c.hcm.log.Log(&format.Context{Info: info, LogType: accesslog.DownstreamEnd})
	c.hcm.counts.rqHeaderTimeout.Inc() // whoever sees the count finds the record
}
