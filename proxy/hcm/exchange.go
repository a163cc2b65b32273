package hcm

import (
	"context"
	"errors"
	"time"

	"culvert/proxy/accesslog"
	"culvert/proxy/codec"
	"culvert/proxy/format"
	"culvert/proxy/network"
)

// exchange is one request and its answer. It belongs to the goroutine that
// serves it; only life and the streams are touched by timers.
type exchange struct {
	codec.Exchange
	hcm  *HCM
	conn *connection

	life  network.Life // of the exchange, less the end of its stream
	idle  idleTimer
	whole requestTimer
	// tunnelIdle is the idle timeout of an established tunnel; 0, unless one
	// was configured.
	tunnelIdle time.Duration

	replyBody string       // of a local reply, for the log
	trailers  codec.Fields // of the response, for the log
}

func newExchange(c *connection, s codec.ServerStream) *exchange {
	e := &exchange{hcm: c.hcm, conn: c}
	e.Stream, e.Request = s, s.Request()
	e.Info = c.info.Child(c.hcm.deps.Flows.NextID())
	e.Info.Kind = network.KindExchange
	e.Info.ConnectionID, e.Info.StreamID = c.info.ConnectionID, s.ID()
	e.Info.Protocol, e.Info.Wire = s.Proto().String(), codec.Wire(s)
	e.Info.RaiseHops(codec.Hops(e.Request.Header))
	if e.Request.IsConnect() { // where the flow table says it goes
		e.Info.SetFilterState(network.StateDestination, e.Request.Authority)
	}
	e.InformFunc = s.WriteResponse
	return e
}

// serve runs the exchange to its end. When it returns, nothing of it runs.
func (e *exchange) serve() {
	counts := e.hcm.counts
	counts.rqTotal.Inc()
	e.conn.version.rqTotal.Inc()
	counts.rqActive.Inc()
	e.hcm.deps.Flows.Add(e.Info)

	// It does not end with the stream, which is over as soon as both its directions
	// are, bytes unread or not. A relay must outlive that: it is told by the stream
	// itself. Until the answer is sent, answer watches the stream. But a relay that
	// only reads from upstream would not notice that the connection is aborted.
	e.life.Begin(e.conn.life)
	defer e.life.End(nil)
	stopTimers := e.startTimers()
	defer stopTimers()

	err := e.answer()
	if err == nil {
		err = e.respond()
	} else {
		err = e.refuse(err)
	}
	e.release()
	e.end(err)
}

// answer runs the exchange up to its unsent response head. A client that leaves
// meanwhile ends it.
func (e *exchange) answer() error {
	stay := codec.AfterEnd(e.Stream, func() { e.life.End(context.Cause(e.Stream.Context())) })
	err := e.roundTrip()
	e.whole.stop()
	if !stay() {
		<-e.life.Done() // the client has left; its cause is on the way
	}
	if err == nil && e.life.Err() != nil {
		err = context.Cause(&e.life)
	}
	return err
}

func (e *exchange) roundTrip() error {
	filters, reply := e.admit()
	if e.hcm.opt.logNewRequest {
		e.record(accesslog.DownstreamStart)
	}
	if reply != nil {
		return reply
	}
	if err := filters.run(&e.life, &e.Exchange); err != nil {
		return err
	}
	if e.Response == nil {
		return &codec.LocalReply{Status: 500, Details: "filter_chain_gave_no_response"}
	}
	return nil
}

// respond sends the head and whatever follows it.
func (e *exchange) respond() error {
	e.finishHead(e.Response)
	if !e.Tunnel() && (e.Upstream.Conn != nil || e.Upstream.Served != nil) {
		e.discard(errAnswered) // a filter made another answer of the router's 200
	}
	if e.Upstream.Stream == nil && e.ResponseBody == nil && !e.Tunnel() || e.Request.Method == "HEAD" {
		e.Response.EndStream = true
	}
	if err := e.Stream.WriteResponse(e.Response); err != nil {
		e.discard(err)
		return e.lost(err)
	}
	e.Info.ResponseCode = e.Response.Status
	if e.Tunnel() {
		return e.relayTunnel()
	}
	return e.relayResponse()
}

// end counts and records the exchange; nothing of it runs any more.
func (e *exchange) end(err error) {
	counts := e.hcm.counts
	e.conn.failed.Store(err != nil && e.Stream.Proto() < codec.HTTP2)
	counts.rqActive.Dec()
	counts.completed(e.Info.ResponseCode)
	counts.rqTime.Record(float64(e.Info.Duration().Milliseconds()))
	if e.Info.Cause == nil && err != nil {
		e.Info.Cause = err
	}
	e.Exchange.End(err)
	e.record(accesslog.DownstreamEnd)
	e.hcm.deps.Flows.Remove(e.Info)
}

func (e *exchange) record(kind string) {
	e.hcm.log.Log(&format.Context{
		Info: e.Info, Request: e.Request, Response: e.Response, Trailers: e.trailers,
		LogType: kind, LocalReplyBody: e.replyBody,
	})
}

// fail notes why an exchange that was answered did not end well.
func (e *exchange) fail(flags network.Flag, details string, err error) error {
	e.Info.Flags |= flags
	e.Info.Details = details
	e.Info.Cause = err
	return err
}

// lost notes that the client is gone: it reset the stream, or its connection
// ended.
func (e *exchange) lost(err error) error {
	if network.IsReset(err) {
		e.hcm.counts.rqRxReset.Inc()
	}
	return e.fail(network.FlagDC, "downstream_remote_disconnect", network.WithReason(network.ReasonCanceled, err))
}

// timedOut is the cause of a timer of ours that ended the exchange, nil if none
// did.
func (e *exchange) timedOut() *codec.LocalReply {
	var reply *codec.LocalReply
	if e.life.Err() != nil && errors.As(context.Cause(&e.life), &reply) {
		return reply
	}
	return nil
}
