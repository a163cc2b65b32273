package codec

import (
	"context"
	"io"

	"culvert/proxy/network"
)

// RoundTripper answers an exchange: it returns when the final response head is
// in x.Response, unsent, or with an error of which hcm makes one local reply.
type RoundTripper func(ctx context.Context, x *Exchange) error

// Filter is one HTTP filter. On the way in it may change the request or wrap
// its body; after next returned, change the response or wrap its body; or
// return an error of its own (a *LocalReply for a chosen answer). No filter
// frame is on the stack while a body or a tunnel's payload moves.
type Filter interface {
	RoundTrip(ctx context.Context, x *Exchange, next RoundTripper) error
}

// Exchange is one request and its response on their way through the filters.
// It belongs to the goroutine of the exchange.
type Exchange struct {
	Info   *network.StreamInfo
	Stream ServerStream

	Request *Request
	// RequestBody is what follows the request head, as filters have wrapped it;
	// nil means the bare stream. Of a CONNECT or an upgrade nothing is read from
	// it before 2xx or 101.
	RequestBody io.Reader

	Response *Response
	// ResponseBody is what follows the response head: a local reply's text, or
	// the far half as filters have wrapped it; nil means the bare far half.
	ResponseBody io.Reader

	// Upstream is the far half, which passes to hcm when RoundTrip returns.
	Upstream FarHalf

	// Route is what the route table decided, for the router and for
	// filters that have per-route configuration.
	Route any

	// InformFunc sends an informational head downstream; nil drops it.
	InformFunc func(*Response) error

	ends []func(EndInfo)
}

// Tunnel reports that the answer made a tunnel of the exchange: what follows
// the heads is raw bytes, and a far half of HTTP is one only if it was asked
// for one. An answer that is no yes makes none, whatever is open behind it: a
// CONNECT takes 2xx for one, an upgrade of HTTP/1.1 nothing but 101, or bytes
// would follow an upstream that has not switched (CVE-2024-23326).
func (x *Exchange) Tunnel() bool {
	res := x.Response
	switch {
	case res == nil || res.EndStream:
		return false
	case res.Status == 101:
		return x.Request.Protocol != "" && x.Upstream.Stream != nil
	case !res.Success():
		return false
	case x.Upstream.Conn != nil || x.Upstream.Served != nil:
		return true
	}
	return x.Upstream.Stream != nil && x.Request.Method == "CONNECT"
}

// FarHalf is the open upstream side of an exchange. At most one of Conn, Stream
// and Served is set; hcm closes it. After an error a Pump may be left alone: it
// ends with the exchange's own stream, and hcm awaits it.
type FarHalf struct {
	// Conn is a byte stream: a terminated CONNECT's socket. hcm relays it.
	Conn network.Conn
	// Stream is an upstream HTTP stream: a proxied request or CONNECT.
	Stream ClientStream
	// Pump is the request body on its way to Stream: closed when it is over,
	// nil if none was started.
	Pump <-chan error
	// Served is a flow handed to an internal listener's handler. hcm calls
	// Established with the stream once the head is sent, and awaits Done.
	Served *ServedFlow
}

// ServedFlow is a CONNECT that an internal handler serves.
type ServedFlow struct {
	// Established hands the handler its Conn, or, with an error, tells it that
	// the head could not be sent.
	Established func(network.Conn, error)
	// Done is closed when the handler has returned.
	Done <-chan struct{}
}

// EndInfo is what hooks learn when an exchange is over.
type EndInfo struct {
	Info *network.StreamInfo
	Err  error
}

// OnEnd adds a hook that runs once, when the exchange is over: the last added
// first.
func (x *Exchange) OnEnd(fn func(EndInfo)) { x.ends = append(x.ends, fn) }

// End runs the hooks. Only hcm calls it, once.
func (x *Exchange) End(err error) {
	for i := len(x.ends) - 1; i >= 0; i-- {
		x.ends[i](EndInfo{Info: x.Info, Err: err})
	}
	x.ends = nil
}

// Inform sends an informational response head downstream.
func (x *Exchange) Inform(res *Response) error {
	if x.InformFunc == nil {
		return nil
	}
	return x.InformFunc(res)
}

// LocalReply is an answer made here instead of upstream, as an error. Its
// Reason, where set, becomes Proxy-Status.
type LocalReply struct {
	Status  int
	Body    string
	Header  Fields
	Flags   network.Flag
	Details string // %RESPONSE_CODE_DETAILS%
	Reason  network.Reason
	Err     error // cause, for the log; may be nil
}

func (e *LocalReply) Error() string {
	if e.Err != nil {
		return e.Details + ": " + e.Err.Error()
	}
	return e.Details
}

func (e *LocalReply) Unwrap() error { return e.Err }

// Flag is the response flags of the reply.
func (e *LocalReply) Flag() network.Flag { return e.Flags }

// ConnectReason is why, for whoever waits behind the reply.
func (e *LocalReply) ConnectReason() network.Reason { return e.Reason }
