package hcm

import (
	"context"
	"errors"

	"culvert/proxy/accesslog"
	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// relayTunnel moves the payload of a tunnel until both directions are over. No
// timer that was not configured runs on it.
func (e *exchange) relayTunnel() error {
	down, up := e.tunnelEnds()
	if up == nil {
		return e.serveTunnel(down)
	}
	return e.tunnelEnded(network.Relay(&e.life, down, up, network.RelayOptions{
		Meter: &e.Info.Meter, IdleTimeout: e.tunnelIdle,
	}))
}

// tunnelEnds are what is to be relayed; up is nil if another handler serves the
// tunnel.
func (e *exchange) tunnelEnds() (down, up network.Conn) {
	e.idle.set(0)
	e.Info.Mark(network.StepAccepted)
	if e.hcm.opt.logTunnel {
		e.record(accesslog.DownstreamTunnelSuccessfullyEstablished)
	}
	down = withReader(e.hcm.deps.TunnelConn(e.Stream), e.RequestBody)
	if e.Upstream.Served != nil {
		return down, nil
	}
	up = e.Upstream.Conn
	if up == nil {
		up = e.hcm.deps.TunnelConn(e.Upstream.Stream)
	}
	return down, withReader(up, e.ResponseBody)
}

// serveTunnel gives the tunnel to the internal listener's handler that has
// accepted it, and awaits the handler.
func (e *exchange) serveTunnel(down network.Conn) error {
	e.idle.set(e.tunnelIdle)
	e.Upstream.Served.Established(meter(down, &e.Info.Meter), nil)
	<-e.Upstream.Served.Done
	if reply := e.timedOut(); reply != nil {
		return e.tunnelTimedOut(reply)
	}
	cause := context.Cause(e.Stream.Context())
	if cause == nil || errors.Is(cause, codec.ErrEnded) {
		return nil
	}
	if network.IsReset(cause) {
		return e.lost(cause)
	}
	return e.upstreamLost("connection termination", network.FlagUC, cause)
}

// tunnelEnded notes how a relay ended.
func (e *exchange) tunnelEnded(r network.RelayResult) error {
	if r.Err == nil {
		return nil
	}
	if reply := e.timedOut(); reply != nil {
		return e.tunnelTimedOut(reply)
	}
	switch {
	case errors.Is(r.Err, network.ErrOverload):
		e.hcm.counts.rqTxReset.Inc()
		return e.fail(network.FlagOM, detailsOverload, r.Err)
	case errors.Is(r.Err, network.ErrIdleTimeout):
		return e.tunnelTimedOut(streamIdle())
	case r.Downstream == network.EndReset || r.Downstream == network.EndError:
		return e.lost(r.Err)
	case e.upstreamExpired(r.Err):
		e.hcm.counts.rqTxReset.Inc()
		return e.fail(network.FlagUMSDR, "upstream_max_stream_duration_reached", r.Err)
	}
	return e.upstreamLost("connection termination", network.FlagUC, r.Err)
}

// upstreamExpired reports whether the cluster ended the far half, since it had
// lived as long as it may. A socket does not say so, nor a stream that is one:
// who has it is asked.
func (e *exchange) upstreamExpired(err error) bool {
	if c, ok := e.Upstream.Conn.(interface{ AbortCause() error }); ok {
		err = c.AbortCause()
	} else if e.Upstream.Stream != nil {
		err = context.Cause(e.Upstream.Stream.Context())
	}
	return network.FlagFor(err)&network.FlagUMSDR != 0
}

func (e *exchange) tunnelTimedOut(reply *codec.LocalReply) error {
	e.countReply(reply)
	e.hcm.counts.rqTxReset.Inc()
	return e.fail(reply.Flags, reply.Details, reply)
}

// upstreamLost notes that the far half failed after the head was sent.
func (e *exchange) upstreamLost(reason string, flag network.Flag, err error) error {
	e.hcm.counts.rqTxReset.Inc()
	return e.fail(flag, "upstream_reset_after_response_started{"+underscored(reason)+"}", err)
}

// relayResponse moves the body of an ordinary response, and waits for what is
// left of the request's.
func (e *exchange) relayResponse() error {
	stop := network.AfterEnd(&e.life, e.abort)
	defer stop()
	if !e.Response.EndStream {
		if err := e.copyResponse(); err != nil {
			return err
		}
	}
	if e.Request.AsksTunnel() || e.Upstream.Pump == nil {
		return nil
	}
	// An upstream may answer before it has read the whole request; it goes on
	// reading, or resets.
	if err := <-e.Upstream.Pump; err != nil {
		if reply := e.timedOut(); reply != nil {
			return e.tunnelTimedOut(reply)
		}
		if cause := context.Cause(e.Stream.Context()); network.IsReset(cause) {
			return e.lost(cause)
		}
	}
	return nil
}

func (e *exchange) copyResponse() error {
	body, trailers := e.ResponseBody, codec.NoTrailers
	if up := e.Upstream.Stream; up != nil {
		trailers = func() codec.Fields {
			e.trailers = up.Trailers()
			return e.trailers
		}
		if body == nil {
			body = up
		}
	}
	readErr, writeErr := codec.CopyBody(e.Stream, body, trailers, e.Info.Meter.Sent)
	switch reply := e.timedOut(); {
	case readErr == nil && writeErr == nil:
		return nil
	case reply != nil:
		return e.tunnelTimedOut(reply)
	case writeErr != nil:
		e.discard(writeErr)
		return e.lost(writeErr)
	}
	return e.responseBroken(readErr)
}

// responseBroken passes the end of a response that is not whole on as a reset.
func (e *exchange) responseBroken(err error) error {
	// What the upstream broke is not the client's doing: the client's stream is
	// told only that it is over.
	e.Stream.Reset(codec.CodeInternal, errBroken)
	e.discard(err)
	var reply *codec.LocalReply
	if errors.As(err, &reply) { // the router's timer
		e.hcm.counts.rqTxReset.Inc()
		return e.fail(reply.Flags, reply.Details, err)
	}
	return e.upstreamLost("remote reset", network.FlagUR, err)
}

// abort ends both halves of an ordinary exchange, from a timer.
func (e *exchange) abort() {
	cause := context.Cause(&e.life)
	e.Stream.Reset(codec.CodeCancel, cause)
	if e.Upstream.Stream != nil {
		e.Upstream.Stream.Reset(codec.CodeCancel, cause)
	}
}

// discard gives up a far half to which nothing was relayed, or no more is.
func (e *exchange) discard(err error) {
	up := &e.Upstream
	if up.Conn != nil {
		up.Conn.Abort(err)
	}
	if up.Stream != nil {
		up.Stream.Reset(codec.CodeCancel, err)
	}
	if up.Served != nil {
		up.Served.Established(nil, err)
		<-up.Served.Done
	}
	up.Conn, up.Served = nil, nil
}

// release ends what is still open. The client's direction may be, after an
// answer that needed no more of it.
func (e *exchange) release() {
	e.Stream.Reset(codec.CodeNoError, errAnswered)
	_ = e.Stream.Close() // only releases: the reset ended it
	if e.Upstream.Stream != nil {
		_ = e.Upstream.Stream.Close() // cancels an upstream that goes on after its answer
	}
	if e.Upstream.Pump != nil {
		for range e.Upstream.Pump { //nolint:revive // its end is all that is left to await
		}
	}
}

// errAnswered is what a request body reads when its answer needed no more of it.
var errAnswered = errors.New("the exchange is answered")

// errBroken ends the client's stream behind a response that is not whole.
var errBroken = &network.ResetError{Err: errors.New("the response is not whole")}

func underscored(s string) string {
	b := []byte(s)
	for i := range b {
		if b[i] == ' ' {
			b[i] = '_'
		}
	}
	return string(b)
}
