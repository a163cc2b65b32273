package router

import (
	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// refuseEarly is the answer to a CONNECT behind which payload came before its
// answer, where the configuration refuses such; nil if there is none. It is
// asked before the far half is opened, and again before the answer says yes:
// what came meanwhile is early too. Payload is never written upstream before
// then, so that none of it was.
func (r *Router) refuseEarly(x *codec.Exchange) error {
	if !r.noEarly || !x.Request.IsConnect() {
		return nil
	}
	if s, ok := x.Stream.(interface{ EarlyData() bool }); !ok || !s.EarlyData() {
		return nil
	}
	return &codec.LocalReply{Status: 400, Details: "early_connect_data", Reason: network.ReasonDenied}
}
