package hcm

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"

	"culvert/proxy/codec"
	"culvert/proxy/network"
	"culvert/proxy/route"
)

// admit checks the request, dresses it, finds its route and decides whether it
// may be a tunnel. It returns the filters it goes through, or the reply that
// ends it.
func (e *exchange) admit() (chain, *codec.LocalReply) {
	if wait := e.hcm.deps.Await; wait != nil && errors.Is(wait(&e.life), network.ErrOverload) {
		return nil, e.overloaded()
	}
	if reply := e.check(); reply != nil {
		return nil, reply
	}
	e.stripPort()
	e.dressRequest()
	d := e.hcm.routes.Match(e.Request, randomNumber())
	if d == nil {
		e.hcm.counts.rqNoRoute.Inc()
		return nil, &codec.LocalReply{
			Status: 404, Flags: network.FlagNR, Details: "route_not_found", Reason: network.ReasonNoRoute,
		}
	}
	e.Route, e.Info.Route = d, d.Route.Name
	e.countAction(d.Route)
	e.setIdleTimeout(d.Route)
	e.Info.Mark(network.StepMatched)

	kind := upgradeType(e.Request)
	filters, ok := e.hcm.chainFor(kind, d.Route)
	if !ok {
		e.hcm.counts.rqUpgradeRefused.Inc()
		return nil, &codec.LocalReply{Status: 403, Details: "upgrade_failed", Reason: network.ReasonDenied}
	}
	if kind != "" {
		e.hcm.counts.upgradesTotal.Inc()
		e.hcm.counts.upgradesActive.Inc()
		e.OnEnd(func(codec.EndInfo) { e.hcm.counts.upgradesActive.Dec() })
	}
	return filters, nil
}

// check refuses what no route can be found for. A CONNECT needs no path; one
// that was sent is checked as any other.
func (e *exchange) check() *codec.LocalReply {
	req := e.Request
	if strings.EqualFold(req.Protocol, "bytestream") {
		req.Protocol = "" // a plain CONNECT by another name
	}
	switch {
	case req.Authority == "":
		return &codec.LocalReply{Status: 400, Details: "missing_host_header", Reason: network.ReasonDenied}
	case req.IsConnect() && !req.HasPath:
		return nil
	case req.Path == "":
		return &codec.LocalReply{Status: 404, Details: "missing_path_rejected", Reason: network.ReasonNoRoute}
	case req.Path[0] != '/':
		e.hcm.counts.rqNonRelativePath.Inc()
		return &codec.LocalReply{Status: 404, Details: "absolute_path_rejected", Reason: network.ReasonNoRoute}
	}
	return nil
}

// detailsOverload are Envoy's details of what ended since memory is short.
const detailsOverload = "overload"

// overloaded refuses a request while memory is short, in Envoy's words.
func (e *exchange) overloaded() *codec.LocalReply {
	e.hcm.counts.rqOverload.Inc()
	return &codec.LocalReply{
		Status: 503, Body: "envoy overloaded", Flags: network.FlagOM, Details: detailsOverload,
		Reason: network.ReasonOverflow, Err: network.ErrOverload,
	}
}

// stripPort takes the port off the authority that routes and logs see. That of a
// CONNECT is where it goes, and is kept for the upstream.
func (e *exchange) stripPort() {
	opt := &e.hcm.opt
	if !opt.stripAnyPort && !opt.stripLocalPort {
		return
	}
	local := ""
	if a := e.Info.LocalAddress; a.Kind == network.AddressIP {
		local = ":" + strconv.Itoa(int(a.IP.Port()))
	}
	port := route.StripPort(e.Request, opt.stripAnyPort, local)
	if port != "" && e.Request.IsConnect() {
		e.Info.SetFilterState(route.StateConnectPort, port)
	}
}

func (e *exchange) countAction(r *route.Route) {
	switch {
	case r.Direct != nil:
		e.hcm.counts.rqDirect.Inc()
	case r.Redirect != nil:
		e.hcm.counts.rqRedirect.Inc()
	}
}

// randomNumber picks among weighted clusters.
func randomNumber() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.NativeEndian.Uint64(b[:])
}

// newRequestID is a random UUID (RFC 9562 §5.4).
func newRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}
