package tunnel

import (
	"fmt"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// StatusError is an answer that opens no tunnel.
type StatusError struct {
	// Code is the HTTP status.
	Code int
	// ProxyStatus is the Proxy-Status field (RFC 9209) as it came, one string a
	// line. It is the gateway's word: escape it before it reaches a log.
	ProxyStatus []string
	// Reason is what the answer says of the destination.
	Reason network.Reason

	answer *codec.Response
}

func newStatusError(res *codec.Response) *StatusError {
	e := &StatusError{Code: res.Status, ProxyStatus: res.Header.Values("proxy-status"), answer: res}
	var ok bool
	if e.Reason, ok = ParseProxyStatus(e.ProxyStatus); !ok {
		e.Reason = reasonForStatus(res.Status)
	}
	return e
}

// Answer is the answer's head.
func (e *StatusError) Answer() *codec.Response { return e.answer }

// Refusal is the answer, for whoever passes it back.
func (e *StatusError) Refusal() (int, codec.Fields) {
	if e.answer == nil {
		return e.Code, nil
	}
	return e.Code, e.answer.Header
}

// Error leaves the gateway's own words out.
func (e *StatusError) Error() string { return fmt.Sprintf("tunnel response %d: %s", e.Code, e.Reason) }

// ConnectReason is what the application is told.
func (e *StatusError) ConnectReason() network.Reason { return e.Reason }

// Flag is Envoy's: an answer that is not a yes is a connection failure. A loop is
// none, so that it is not tried again at each of its hops.
func (e *StatusError) Flag() network.Flag {
	if e.Reason == network.ReasonLoop {
		return network.ReasonLoop.Flag()
	}
	return network.FlagUF
}

// TransportFailure is Envoy's %UPSTREAM_TRANSPORT_FAILURE_REASON% for it.
func (e *StatusError) TransportFailure() string { return fmt.Sprintf("tunnel_response:%d", e.Code) }

// reasonForStatus is for gateways that send no Proxy-Status.
func reasonForStatus(code int) network.Reason {
	switch code {
	case 403:
		return network.ReasonDenied
	case 502, 503:
		return network.ReasonConnectionRefused
	case 504:
		return network.ReasonTimeout
	}
	return network.ReasonGateway
}

// GatewayError is a request that did not come to its answer: the gateway could
// not be reached, or went away. Of the destination it says nothing, so whatever
// the kernel said of the gateway is not passed off as the destination's word.
type GatewayError struct{ Err error }

func (e *GatewayError) Error() string { return "gateway: " + e.Err.Error() }

func (e *GatewayError) Unwrap() error { return e.Err }

// ConnectReason is ReasonGateway, except for what is not the gateway's doing:
// the caller went away, or the request itself is at fault.
func (e *GatewayError) ConnectReason() network.Reason {
	switch r := network.ReasonFor(e.Err); r {
	case network.ReasonCanceled, network.ReasonOverflow, network.ReasonNoCluster, network.ReasonLoop:
		return r
	}
	return network.ReasonGateway
}

// Flag is what the pool's own failure has (UH, UO, UF).
func (e *GatewayError) Flag() network.Flag {
	if network.ReasonFor(e.Err) == network.ReasonLoop {
		return network.ReasonLoop.Flag()
	}
	if f := network.FlagFor(e.Err); f&(network.FlagUH|network.FlagUO|network.FlagNC|network.FlagDC) != 0 {
		return f
	}
	return network.FlagUF
}
