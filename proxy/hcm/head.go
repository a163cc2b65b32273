package hcm

import (
	"time"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// dateFormat is an IMF-fixdate (RFC 9110 §5.6.7) of a time in UTC.
const dateFormat = "Mon, 02 Jan 2006 15:04:05 GMT"

// dressRequest adds to a request what every upstream is told.
func (e *exchange) dressRequest() {
	req, opt := e.Request, &e.hcm.opt
	scheme := "http"
	if e.conn.secure {
		scheme = "https"
	}
	switch {
	case opt.scheme != "" && req.Scheme != "":
		req.Scheme = opt.scheme
	case req.Scheme == "" && !req.IsConnect():
		req.Scheme = scheme
	}
	if opt.remoteIsEdge || !req.Header.Has("x-forwarded-proto") {
		req.Header.Set("x-forwarded-proto", scheme)
	}
	remote := e.Info.RemoteAddress
	if opt.remoteIsEdge && !opt.skipXFF && remote.Kind == network.AddressIP {
		appendField(&req.Header, "x-forwarded-for", remote.Host())
	}
	// At the edge, a request id that came from outside is not ours to trust.
	if opt.remoteIsEdge && !opt.preserveID {
		req.Header.Del("x-request-id")
	}
	if opt.generateID && !req.Header.Has("x-request-id") {
		req.Header.Add("x-request-id", newRequestID())
	}
	if opt.via != "" {
		appendField(&req.Header, "via", opt.via)
	}
}

// finishHead adds to a response what every client is told.
func (e *exchange) finishHead(res *codec.Response) {
	opt := &e.hcm.opt
	switch opt.serverHeader {
	case hcmv3.HttpConnectionManager_OVERWRITE:
		res.Header.Set("server", opt.serverName)
	case hcmv3.HttpConnectionManager_APPEND_IF_ABSENT:
		if !res.Header.Has("server") {
			res.Header.Add("server", opt.serverName)
		}
	}
	if !res.Header.Has("date") {
		res.Header.Add("date", time.Now().UTC().Format(dateFormat))
	}
	if opt.returnID && e.Request.Header.Has("x-request-id") {
		res.Header.Set("x-request-id", e.Request.Header.Get("x-request-id"))
	}
	if opt.via != "" {
		appendField(&res.Header, "via", opt.via)
	}
}

// appendField adds a value to the list in a field.
func appendField(h *codec.Fields, name, value string) {
	if old := h.Get(name); old != "" {
		value = old + ", " + value
	}
	h.Set(name, value)
}
