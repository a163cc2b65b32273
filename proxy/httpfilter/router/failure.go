package router

import (
	"context"
	"errors"
	"strings"
	"syscall"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// errSwitched is a 101 where the version knows no protocol switch (RFC 9113
// §8.6).
var errSwitched = errors.New("101 on a stream that cannot switch")

// errNotSwitched is a success that did not switch, in the words of a client for
// whom it would be a tunnel (CVE-2024-23326).
var errNotSwitched = errors.New("a success that does not switch protocols")

// connectFailed is the answer to a request whose far half did not open. Status,
// flag and Proxy-Status are all made from one reason.
func connectFailed(ctx context.Context, info *network.StreamInfo, err error) *codec.LocalReply {
	if ctx.Err() != nil {
		return abandoned(ctx, err)
	}
	reason := network.ReasonFor(err)
	reply := &codec.LocalReply{Status: reason.Status(), Flags: network.FlagFor(err), Reason: reason, Err: err}
	switch {
	case reason == network.ReasonProhibited, reason == network.ReasonDenied, reason == network.ReasonNoRoute,
		reason == network.ReasonLoop:
		// Envoy has no such refusals; their names are RFC 9209's.
		reply.Body, reply.Details = reason.String(), reason.Token()
	case reply.Flags&network.FlagUH != 0: // whatever kept the endpoint away: a name that does not resolve
		reply.Body, reply.Details = "no healthy upstream", "no_healthy_upstream"
	case reason == network.ReasonNoCluster:
		reply.Details = "cluster_not_found"
	case reason == network.ReasonOverflow:
		reply.Body, reply.Details = resetText("overflow", "")
	case reason == network.ReasonTimeout:
		reply.Body, reply.Details = resetText("connection timeout", info.TransportFailure)
	default:
		reply.Body, reply.Details = resetText("remote connection failure", transportFailure(info, err))
	}
	passBack(reply, err)
	return reply
}

// passBack gives a reply the status with which a proxy on the way has refused
// our CONNECT, through however many internal listeners, and what a client needs
// to make use of it. Why is in our own words: the proxy's are not ours to repeat.
func passBack(reply *codec.LocalReply, err error) {
	status, header, ok := codec.RefusalOf(err)
	if !ok || status < 400 || status > 599 {
		return
	}
	reply.Status = status
	for _, f := range header {
		switch name := strings.ToLower(f.Name); name {
		case "proxy-authenticate", "retry-after":
			if codec.ValidValue(f.Value) {
				reply.Header.Add(name, f.Value)
			}
		}
	}
}

// abandoned is the answer nobody waits for: the client left, or a bound of the
// connection manager ended the exchange and says what it was.
func abandoned(ctx context.Context, err error) *codec.LocalReply {
	var reply *codec.LocalReply
	if errors.As(context.Cause(ctx), &reply) {
		return reply
	}
	return &codec.LocalReply{
		Status: network.ReasonCanceled.Status(), Flags: network.FlagDC,
		Details: "downstream_remote_disconnect", Reason: network.ReasonCanceled, Err: err,
	}
}

// resetBeforeResponse is the answer to a request whose upstream stream ended
// without a response head.
func resetBeforeResponse(ctx context.Context, x *codec.Exchange, err error) *codec.LocalReply {
	if ctx.Err() != nil {
		return abandoned(ctx, err)
	}
	var reply *codec.LocalReply
	if errors.As(err, &reply) {
		return reply // the timer's
	}
	reply = &codec.LocalReply{Status: 503, Reason: network.ReasonFor(err), Err: err}
	if reply.Reason == network.ReasonUnknown {
		reply.Reason = network.ReasonUnavailable
	}
	var text string
	var reset *network.ResetError
	switch {
	case errors.Is(err, errSwitched), errors.Is(err, errNotSwitched), codec.CodeFor(err) == codec.CodeProtocol:
		reply.Status, reply.Flags, text = 502, network.FlagUPE, "protocol error"
		reply.Reason = network.ReasonGateway
	case errors.As(err, &reset) && reset.Remote && reset.Code != 0:
		text = resetName(x.Request, reset.Code)
		reply.Flags = network.FlagUR
		if text == connectErrorText {
			reply.Reason = network.ReasonConnectionRefused
		}
	default:
		reply.Flags, text = network.FlagUC, "connection termination"
	}
	reply.Body, reply.Details = resetText(text, "")
	return reply
}

const connectErrorText = "remote error with CONNECT request"

// resetName is Envoy's name for a reset code (HTTP/2 RFC 9113 §7, HTTP/3 RFC
// 9114 §8.1).
func resetName(req *codec.Request, code uint64) string {
	switch code {
	case 0x7, 0x10b:
		return "remote refused stream reset"
	case 0xa, 0x10f:
		if req.Method == "CONNECT" {
			return connectErrorText
		}
	case 0x1, 0x101:
		return "protocol error"
	}
	return "remote reset"
}

// requiredFieldGone is the answer when a filter has taken from the request what
// it cannot go on without.
func requiredFieldGone() *codec.LocalReply {
	return &codec.LocalReply{Status: 503, Details: "filter_removed_required_request_headers", Reason: network.ReasonUnknown}
}

// responseTimeout is the answer when the upstream took too long.
func responseTimeout() *codec.LocalReply {
	return &codec.LocalReply{
		Status: 504, Body: "upstream request timeout", Flags: network.FlagUT,
		Details: "response_timeout", Reason: network.ReasonTimeout,
	}
}

// resetText is body and details in Envoy's words.
func resetText(reason, transport string) (body, details string) {
	body = "upstream connect error or disconnect/reset before headers. reset reason: " + reason
	details = "upstream_reset_before_response_started{" + strings.ReplaceAll(reason, " ", "_")
	if transport != "" {
		body += ", transport failure reason: " + transport
		details += "|" + strings.ReplaceAll(transport, " ", "_")
	}
	return body, details + "}"
}

// transportFailure is what the transport said. A refused connect has no
// transport yet; Envoy then quotes the kernel.
func transportFailure(info *network.StreamInfo, err error) string {
	var errno syscall.Errno
	var worded interface{ TransportFailure() string }
	switch {
	case info.TransportFailure != "":
		return info.TransportFailure
	case errors.As(err, &worded):
		return worded.TransportFailure()
	case errors.As(err, &errno):
		text := errno.Error()
		return "delayed connect error: " + strings.ToUpper(text[:1]) + text[1:]
	}
	return ""
}
