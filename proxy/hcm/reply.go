package hcm

import (
	"context"
	"errors"
	"strconv"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// refuse answers an exchange that failed before its head was sent: with one
// local reply, or with nothing if the client is gone.
func (e *exchange) refuse(err error) error {
	e.discard(err)
	reply := e.timedOut()
	if reply == nil && e.Stream.Context().Err() != nil {
		return e.lost(context.Cause(e.Stream.Context()))
	}
	if reply == nil && !errors.As(err, &reply) {
		e.hcm.deps.Log.Warn("an HTTP filter failed", "flow", e.Info.ID, "error", err)
		reply = &codec.LocalReply{Status: 500, Details: "filter_failed", Err: err}
	}
	e.countReply(reply)
	e.Info.Flags |= reply.Flags
	e.Info.Details = reply.Details
	e.Info.Cause = reply
	if e.Request.AsksTunnel() {
		e.Info.Mark(network.StepRejected)
	}
	if err := e.sendReply(reply); err != nil {
		return e.lost(err)
	}
	return reply
}

func (e *exchange) countReply(reply *codec.LocalReply) {
	switch {
	case reply.Flags&network.FlagNC != 0:
		e.hcm.counts.rqNoCluster.Inc()
	case reply.Flags&network.FlagSI != 0:
		e.hcm.counts.rqIdleTimeout.Inc()
	}
}

// sendReply sends a local reply. A client that still sends is told by a reset
// that it need not (RFC 9113 §8.1); release does that.
func (e *exchange) sendReply(reply *codec.LocalReply) error {
	res := &codec.Response{Status: reply.Status, Header: reply.Header.Clone()}
	if reply.Body != "" {
		res.Header.Set("content-length", strconv.Itoa(len(reply.Body)))
		res.Header.Set("content-type", "text/plain")
	}
	e.addProxyStatus(res, reply)
	e.finishHead(res)
	res.EndStream = reply.Body == "" || e.Request.Method == "HEAD"
	e.Response, e.replyBody = res, reply.Body
	if err := e.Stream.WriteResponse(res); err != nil {
		return err
	}
	e.Info.ResponseCode = res.Status
	if res.EndStream {
		return nil
	}
	n, err := e.Stream.Write([]byte(reply.Body))
	e.Info.Meter.Sent(n)
	if err != nil {
		return err
	}
	return e.Stream.CloseWrite()
}

// upstreamFailed are the flags of replies that speak of an upstream.
const upstreamFailed = network.FlagUH | network.FlagUF | network.FlagUO | network.FlagUR | network.FlagUC |
	network.FlagUT | network.FlagUPE | network.FlagNC | network.FlagDF

// addProxyStatus says in RFC 9209's words why a tunnel was refused, and why an
// upstream could not be reached.
func (e *exchange) addProxyStatus(res *codec.Response, reply *codec.LocalReply) {
	tell := e.Request.AsksTunnel() || reply.Reason != network.ReasonUnknown || reply.Flags&upstreamFailed != 0
	if !tell || res.Header.Has("proxy-status") {
		return
	}
	details := reply.Details
	if e.hcm.opt.removeDetails {
		details = ""
	}
	if v := e.hcm.deps.ProxyStatus(e.hcm.opt.proxyName, reply.Reason, details); v != "" {
		res.Header.Add("proxy-status", v)
	}
}
