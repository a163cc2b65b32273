package codec

import "strings"

// StripHopByHop drops the fields that must not be forwarded: those that concern
// one connection (RFC 9110 §7.6.1), those that Connection names, and a TE that
// says more than trailers. The codecs pass all fields up as they came, and send
// their own of this kind whatever they are given; so whoever forwards a head
// calls this in between. What an upgrade needs is in Request.Protocol and
// Response.Protocol.
//
// A Connection that names a field which is not of the hop, a cookie or a
// request id, asks us to strip what somebody else has added (CVE-2022-31813);
// only fields that a message means the same without are dropped for it.
func StripHopByHop(h *Fields) {
	var named []string
	for _, f := range *h {
		if strings.EqualFold(f.Name, "connection") {
			for name := range strings.SplitSeq(f.Value, ",") {
				if name = strings.Trim(name, " \t"); name != "" && !endToEnd(name) {
					named = append(named, name)
				}
			}
		}
	}
	out := (*h)[:0:0]
	for _, f := range *h {
		if ConnectionSpecific(f.Name) || foldedIn(named, f.Name) ||
			(strings.EqualFold(f.Name, "te") && !strings.EqualFold(f.Value, "trailers")) {
			continue
		}
		out = append(out, f)
	}
	*h = out
}

// ConnectionSpecific reports whether a field speaks of one connection only (RFC
// 9110 §7.6.1, RFC 9113 §8.2.2).
func ConnectionSpecific(name string) bool {
	switch len(name) {
	case len("connection"), len("proxy-connection"), len("transfer-encoding"), len("upgrade"), len("http2-settings"):
	default:
		return false
	}
	switch strings.ToLower(name) {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "http2-settings":
		return true
	}
	return false
}

// endToEnd reports whether a field is one that Connection cannot name: it would
// change what the message means, or take away what a proxy vouches for.
func endToEnd(name string) bool {
	switch name = strings.ToLower(name); name {
	case "host", "content-length", "authorization", "cookie", "x-request-id", "x-real-ip", "forwarded", "via":
		return true
	}
	return strings.HasPrefix(name, "x-forwarded-") || strings.HasPrefix(name, "x-envoy-")
}

func foldedIn(names []string, name string) bool {
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}
