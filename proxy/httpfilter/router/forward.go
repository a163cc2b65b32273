package router

import (
	"context"
	"errors"
	"strconv"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/format"
	"culvert/proxy/network"
	"culvert/proxy/route"
)

// forward sends the request to the cluster as HTTP and returns with the final
// response head.
func (r *Router) forward(ctx context.Context, x *codec.Exchange, c Cluster, d *route.Decision) error {
	if err := r.refuseEarly(x); err != nil {
		return err
	}
	f := d.Route.Forward
	hop, err := x.Info.NextHop()
	if err != nil {
		return connectFailed(ctx, x.Info, err)
	}
	f.Rewrite(x.Request)
	timeout := answerWithin(x.Request, f)
	head := upstreamHead(x)
	d.MutateRequest(&head.Header, &format.Context{Info: x.Info, Request: x.Request})
	codec.AddHop(&head.Header, hop)
	if !r.quiet && timeout > 0 {
		head.Header.Set("x-envoy-expected-rq-timeout-ms", strconv.FormatInt(timeout.Milliseconds(), 10))
	}
	x.Info.Attempts++
	s, err := c.OpenStream(ctx, head, x.Info)
	if err != nil {
		return connectFailed(ctx, x.Info, err)
	}
	sent := time.Now()
	timer := newResponseTimer(s, timeout)
	x.OnEnd(func(codec.EndInfo) { timer.stop() })
	startBody(x, s, head, timer)
	res, err := readFinal(ctx, x, s)
	responded(c, x.Info, res, err, time.Since(sent))
	if err == nil {
		err = settleAnswer(x.Request, res, s.Proto())
	}
	if err == nil && res.Success() {
		err = r.refuseEarly(x)
	}
	if err != nil {
		reply := resetBeforeResponse(ctx, x, err)
		s.Reset(codec.CodeCancel, reply)
		_ = s.Close() // only releases: the reset ended it
		return reply
	}
	if !r.quiet {
		res.Header.Set("x-envoy-upstream-service-time", strconv.FormatInt(time.Since(sent).Milliseconds(), 10))
	}
	codec.StripHopByHop(&res.Header)
	x.Response, x.Upstream.Stream = res, s
	x.Info.Details = "via_upstream"
	if x.Tunnel() {
		res.Header.Del("content-length") // says nothing of a tunnel (RFC 9110 §9.3.6)
		timer.stop()                     // it bounds the answer, not the tunnel
	}
	return nil
}

// responded tells the cluster of an answer, or of one that took too long. A
// stream that ended without is neither.
func responded(c Cluster, info *network.StreamInfo, res *codec.Response, err error, took time.Duration) {
	var reply *codec.LocalReply
	switch {
	case err == nil:
		c.Responded(info.Upstream(), res.Status, took)
	case errors.As(err, &reply) && reply.Flags&network.FlagUT != 0:
		c.Responded(info.Upstream(), 0, took)
	}
}

// answerWithin is how long the upstream may take to answer, 0 for no bound. The
// default does not bound a CONNECT: how long a destination may take is the
// terminating side's to say.
func answerWithin(req *codec.Request, f *route.Forward) time.Duration {
	if req.IsConnect() && !f.TimeoutSet {
		return 0
	}
	return f.Timeout
}

// startBody starts what is sent behind the head: nothing for a tunnel, whose
// bytes wait for the answer.
func startBody(x *codec.Exchange, s codec.ClientStream, head *codec.Request, timer *responseTimer) {
	if head.EndStream || x.Request.AsksTunnel() {
		timer.start()
		return
	}
	done := make(chan error, 1)
	x.Upstream.Pump = done
	go pumpBody(x, s, done, timer) // ends with the body, or when either stream does; hcm awaits it
}

// pumpBody moves the request's body upstream. The response timer starts at its
// end.
func pumpBody(x *codec.Exchange, s codec.ClientStream, done chan<- error, timer *responseTimer) {
	defer close(done)
	body := x.RequestBody
	if body == nil {
		body = x.Stream
	}
	readErr, writeErr := codec.CopyBody(s, body, x.Stream.Trailers, x.Info.Meter.Received)
	switch {
	case readErr != nil: // the client is gone, or a filter refused the rest
		s.Reset(codec.CodeCancel, readErr)
		done <- readErr
	case writeErr != nil: // the upstream wants no more, and says why in its response
		done <- writeErr
	default:
		timer.start()
	}
}

// readFinal passes informational heads on and returns the final one.
func readFinal(ctx context.Context, x *codec.Exchange, s codec.ClientStream) (*codec.Response, error) {
	for {
		res, err := s.ReadResponse(ctx)
		switch {
		case err != nil:
			return nil, err
		case res.Status == 101 && s.Proto() >= codec.HTTP2:
			return nil, errSwitched
		case !res.Informational():
			return res, nil
		}
		if err := x.Inform(res); err != nil {
			return nil, err
		}
	}
}
