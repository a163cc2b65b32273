package router

import (
	"culvert/proxy/codec"
	"culvert/proxy/route"
)

// upstreamHead is the request as the upstream sees it. A plain CONNECT has
// neither scheme nor path nor protocol (RFC 9113 §8.5) nor a length, whatever
// came in. An upgrade goes as an extended CONNECT (RFC 8441), of which an
// HTTP/1.1 upstream's codec makes a GET with Upgrade again.
func upstreamHead(x *codec.Exchange) *codec.Request {
	head := *x.Request
	head.Header = x.Request.Header.Clone()
	codec.StripHopByHop(&head.Header)
	switch {
	case head.IsConnect():
		head.Authority = connectAuthority(x)
		head.Scheme, head.Path, head.HasPath = "", "", false
		head.Header.Del("content-length")
		head.EndStream = false // its end follows the answer, as its bytes do
	case head.AsksTunnel():
		if head.Method == "GET" {
			head.Method = "CONNECT"
		}
		head.EndStream = false
	default:
		head.EndStream = x.Request.EndStream && x.RequestBody == nil
	}
	return &head
}

// connectAuthority is where a CONNECT goes, with the port that the connection
// manager has stripped from what routes see.
func connectAuthority(x *codec.Exchange) string {
	if port, ok := x.Info.FilterState.Get(route.StateConnectPort).(string); ok {
		return route.WithPort(x.Request.Authority, port)
	}
	return x.Request.Authority
}

// settleAnswer makes the answer to an upgrade one of the version it was asked
// in: 101 in HTTP/1.1, 200 where the upgrade is an extended CONNECT (RFC 8441
// §5). A yes in the words of the other version is none: a client that gets it
// would send bytes to an upstream which takes them for requests.
func settleAnswer(req *codec.Request, res *codec.Response, upstream codec.Proto) error {
	if req.Protocol == "" {
		return nil
	}
	extended := req.Method == "CONNECT"
	switched := res.Status == 101
	if upstream >= codec.HTTP2 {
		switched = res.Success()
	}
	switch {
	case switched && !extended:
		res.Status = 101
		if res.Protocol == "" {
			res.Protocol = req.Protocol
		}
	case switched:
		res.Status = 200
	case extended && res.Success():
		return errNotSwitched
	}
	return nil
}
