package cluster

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"culvert/proxy/network"
)

// ConnectError is a failed attempt to connect to an endpoint. Its reason is
// that of Err: a raw connection that the endpoint refused was refused.
type ConnectError struct {
	Cluster  string
	Endpoint network.Address
	// TransportFailure is %UPSTREAM_TRANSPORT_FAILURE_REASON%, in Envoy's words
	// where it has some; may be empty.
	TransportFailure string
	Err              error
}

func (e *ConnectError) Error() string {
	return fmt.Sprintf("dial cluster %q endpoint %s: %v", e.Cluster, e.Endpoint, e.Err)
}

func (e *ConnectError) Unwrap() error { return e.Err }

// NoHostError is a cluster that has no endpoint to pick: no healthy upstream.
type NoHostError struct {
	Cluster string
	Err     error // why; may be nil
}

func (e *NoHostError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("cluster %q: no healthy upstream: %v", e.Cluster, e.Err)
	}
	return fmt.Sprintf("cluster %q: no healthy upstream", e.Cluster)
}

func (e *NoHostError) Unwrap() error { return e.Err }

// Flag is Envoy's, whatever kept the endpoint away.
func (e *NoHostError) Flag() network.Flag { return network.FlagUH }

// ConnectReason is Err's where it knows more: a name that does not resolve.
func (e *NoHostError) ConnectReason() network.Reason {
	if r := network.ReasonFor(e.Err); r != network.ReasonUnknown {
		return r
	}
	return network.ReasonNoHealthy
}

// errConnectTimeout is the cause of a context that connect_timeout ended.
var errConnectTimeout = network.WithReason(network.ReasonTimeout, errors.New("connection timeout"))

// overflow is a circuit breaker that is open.
func overflow(cluster, what string) error {
	return network.WithReason(network.ReasonOverflow, fmt.Errorf("cluster %q: circuit breaker: too many %s", cluster, what))
}

// transportFailure is what Envoy calls the failure of a connect: its own word
// where the error has one, as a refused CONNECT does, else the kernel's. The
// empty string for what has none.
func transportFailure(err error) string {
	var worded interface{ TransportFailure() string }
	var errno syscall.Errno
	switch {
	case errors.As(err, &worded):
		return worded.TransportFailure()
	case errors.As(err, &errno):
		s := errno.Error()
		return "delayed connect error: " + strings.ToUpper(s[:1]) + s[1:]
	}
	return ""
}

// wrapFailure is transportFailure of a transport that was not put around its
// connection, which says what it is in its own words.
func wrapFailure(err error) string {
	var worded interface{ TransportFailure() string }
	if errors.As(err, &worded) {
		return worded.TransportFailure()
	}
	return err.Error()
}

// errMaxStream ends a stream that max_stream_duration bounds.
var errMaxStream error = maxStreamError{}

type maxStreamError struct{}

func (maxStreamError) Error() string { return "upstream max stream duration reached" }

// Flag is Envoy's.
func (maxStreamError) Flag() network.Flag { return network.FlagUMSDR }

// ConnectReason is that of a stream which ended unanswered.
func (maxStreamError) ConnectReason() network.Reason { return network.ReasonTimeout }
