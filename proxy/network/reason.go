package network

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
)

// Reason says, neutrally between protocols, why a flow was not connected. It is
// the one value from which the packet that answers a SYN, the HTTP status, the
// Proxy-Status error token (RFC 9209 §2.3) and Envoy's response flag are made,
// so that they cannot disagree.
type Reason uint8

// The reasons, in the order of design's verdict table.
const (
	// ReasonUnknown is an error that says nothing of itself: treated as a
	// failure on the way to the gateway, not of the destination.
	ReasonUnknown Reason = iota
	// ReasonConnectionRefused: the destination answered RST.
	ReasonConnectionRefused
	// ReasonUnroutable: no route to the destination, or ICMP said so.
	ReasonUnroutable
	// ReasonUnavailable: the destination is known to be down.
	ReasonUnavailable
	// ReasonDNS: the name does not resolve.
	ReasonDNS
	// ReasonProhibited: the egress policy refuses the destination's address.
	ReasonProhibited
	// ReasonDenied: a rule refused the request (403, RBAC).
	ReasonDenied
	// ReasonTimeout: nothing answered in time.
	ReasonTimeout
	// ReasonGateway: the gateway cannot be reached, or its TLS or its answer is
	// not what it should be (407, 404).
	ReasonGateway
	// ReasonOverflow: a bound of ours is reached (circuit breaker, flow table).
	ReasonOverflow
	// ReasonNoRoute: no filter chain or no route matches.
	ReasonNoRoute
	// ReasonNoCluster: the configuration names a cluster that is not there.
	ReasonNoCluster
	// ReasonNoHealthy: the cluster has no endpoint to pick.
	ReasonNoHealthy
	// ReasonCanceled: whoever asked went away.
	ReasonCanceled
	// ReasonLoop: the flow has come back to where it was.
	ReasonLoop
)

// Verdict is what a captured application is told about a connect.
type Verdict uint8

// The verdicts a netstack can give to a SYN (design, "What the application is told").
const (
	VerdictNetUnreachable  Verdict = iota // ICMP net unreachable / no route
	VerdictRefused                        // RST
	VerdictHostUnreachable                // ICMP host / address unreachable
	VerdictProhibited                     // ICMP administratively prohibited
	VerdictSilent                         // nothing; the application's own time-out
)

func (v Verdict) String() string {
	return [...]string{"net unreachable", "refused", "host unreachable", "prohibited", "silent"}[v]
}

type reasonRow struct {
	name    string
	verdict Verdict
	token   string // RFC 9209 §2.3 proxy error type
	flag    Flag
	status  int // HTTP status of a terminator; 503 where Envoy says 503
}

func (r Reason) row() reasonRow {
	switch r {
	case ReasonConnectionRefused:
		return reasonRow{"connection refused", VerdictRefused, "connection_refused", FlagUF, 503}
	case ReasonUnroutable:
		return reasonRow{"destination unroutable", VerdictHostUnreachable, "destination_ip_unroutable", FlagUF, 503}
	case ReasonUnavailable:
		return reasonRow{"destination unavailable", VerdictHostUnreachable, "destination_unavailable", FlagUF, 503}
	case ReasonDNS:
		return reasonRow{"name does not resolve", VerdictHostUnreachable, "dns_error", FlagDF, 503}
	case ReasonProhibited:
		return reasonRow{"destination prohibited", VerdictProhibited, "destination_ip_prohibited", FlagUH, 403}
	case ReasonDenied:
		return reasonRow{"request denied", VerdictProhibited, "http_request_denied", 0, 403}
	case ReasonTimeout:
		return reasonRow{"connection timeout", VerdictSilent, "connection_timeout", FlagUF, 503}
	case ReasonGateway:
		return reasonRow{"gateway failure", VerdictNetUnreachable, "proxy_internal_response", FlagUF, 503}
	case ReasonOverflow:
		return reasonRow{"overflow", VerdictNetUnreachable, "connection_limit_reached", FlagUO, 503}
	case ReasonNoRoute:
		return reasonRow{"no route", VerdictProhibited, "destination_not_found", FlagNR, 404}
	case ReasonNoCluster:
		return reasonRow{"no cluster", VerdictNetUnreachable, "proxy_configuration_error", FlagNC, 503}
	case ReasonNoHealthy:
		return reasonRow{"no healthy upstream", VerdictHostUnreachable, "destination_unavailable", FlagUH, 503}
	case ReasonCanceled:
		return reasonRow{"canceled", VerdictSilent, "connection_terminated", FlagDC, 499}
	case ReasonLoop:
		// No flag: Envoy has none, and with UF each hop would try again what can
		// only fail, to the power of their number.
		return reasonRow{"loop", VerdictNetUnreachable, "proxy_loop_detected", 0, 502}
	default:
		return reasonRow{"unknown", VerdictNetUnreachable, "proxy_internal_error", FlagUF, 503}
	}
}

func (r Reason) String() string { return r.row().name }

// Verdict is what a captured application is told.
func (r Reason) Verdict() Verdict { return r.row().verdict }

// Token is the RFC 9209 proxy error type.
func (r Reason) Token() string { return r.row().token }

// Flag is Envoy's response flag.
func (r Reason) Flag() Flag { return r.row().flag }

// Status is the HTTP status a terminator answers.
func (r Reason) Status() int { return r.row().status }

// ReasonForToken is the reverse of Token, for a Proxy-Status that arrives.
// Tokens of RFC 9209 that no Reason sends map to their nearest; false if the
// token is none of them.
func ReasonForToken(token string) (Reason, bool) {
	switch token {
	case "connection_refused":
		return ReasonConnectionRefused, true
	case "destination_ip_unroutable":
		return ReasonUnroutable, true
	case "destination_unavailable", "connection_terminated", "connection_read_timeout", "connection_write_timeout":
		return ReasonUnavailable, true
	case "dns_error", "dns_timeout":
		return ReasonDNS, true
	case "destination_ip_prohibited":
		return ReasonProhibited, true
	case "http_request_denied":
		return ReasonDenied, true
	case "connection_timeout":
		return ReasonTimeout, true
	case "connection_limit_reached":
		return ReasonOverflow, true
	case "destination_not_found":
		return ReasonNoRoute, true
	case "proxy_internal_error", "proxy_internal_response", "proxy_configuration_error":
		return ReasonGateway, true
	case "proxy_loop_detected":
		return ReasonLoop, true
	}
	return ReasonUnknown, false
}

// ReasonError is an error that carries its Reason. Err is what happened, for a
// person; it is in the chain.
type ReasonError struct {
	Reason Reason
	Err    error
}

// WithReason wraps err, which may be nil, with r.
func WithReason(r Reason, err error) error { return &ReasonError{Reason: r, Err: err} }

func (e *ReasonError) Error() string {
	if e.Err == nil {
		return e.Reason.String()
	}
	return e.Err.Error()
}

func (e *ReasonError) Unwrap() error { return e.Err }

// ConnectReason makes *ReasonError answer ReasonFor.
func (e *ReasonError) ConnectReason() Reason { return e.Reason }

// ReasonFor asks the error chain: a typed error (ConnectReason() Reason) first,
// then what the kernel and the standard library say. A deadline or a canceled
// context counts last, since typed errors are made of them too.
func ReasonFor(err error) Reason {
	var typed interface{ ConnectReason() Reason }
	if errors.As(err, &typed) {
		return typed.ConnectReason()
	}
	var dns *net.DNSError
	switch {
	case err == nil:
		return ReasonUnknown
	case errors.As(err, &dns):
		return ReasonDNS
	case errors.Is(err, syscall.ECONNREFUSED):
		return ReasonConnectionRefused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH),
		errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT),
		errors.Is(err, syscall.ENONET):
		return ReasonUnroutable
	case errors.Is(err, syscall.EHOSTDOWN), errors.Is(err, syscall.ECONNRESET):
		return ReasonUnavailable
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return ReasonProhibited
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, os.ErrDeadlineExceeded),
		errors.Is(err, context.DeadlineExceeded):
		return ReasonTimeout
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOBUFS):
		return ReasonOverflow
	case errors.Is(err, context.Canceled):
		return ReasonCanceled
	}
	return ReasonUnknown
}

// VerdictFor is what a captured application is told for a connect that failed
// with err.
func VerdictFor(err error) Verdict { return ReasonFor(err).Verdict() }
