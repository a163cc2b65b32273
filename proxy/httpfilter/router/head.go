package router

import (
	"strings"

	"culvert/proxy/codec"
)

// upstreamHead is the request as the upstream sees it. A plain CONNECT has
// neither scheme nor path nor protocol (RFC 9113 §8.5), whatever came in.
func upstreamHead(x *codec.Exchange) *codec.Request {
	head := *x.Request
	head.Header = x.Request.Header.Clone()
	stripHopByHop(&head.Header)
	switch {
	case head.IsConnect():
		head.Scheme, head.Path, head.HasPath = "", "", false
		head.EndStream = false // its end follows the answer, as its bytes do
	case head.AsksTunnel():
		head.EndStream = false
	default:
		head.EndStream = x.Request.EndStream && x.RequestBody == nil
	}
	return &head
}

// hopByHop are the fields that concern one connection (RFC 9110 §7.6.1), and
// those that HTTP/2 forbids (RFC 9113 §8.2.2).
var hopByHop = [...]string{"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}

// stripHopByHop drops the fields that must not be forwarded: the fixed ones,
// those that Connection names, and a TE that says more than trailers.
func stripHopByHop(h *codec.Fields) {
	for _, v := range h.Values("connection") {
		for name := range strings.SplitSeq(v, ",") {
			if name = strings.TrimSpace(name); name != "" {
				h.Del(name)
			}
		}
	}
	for _, name := range hopByHop {
		h.Del(name)
	}
	if h.Has("te") && !strings.EqualFold(h.Get("te"), "trailers") {
		h.Del("te")
	}
}
