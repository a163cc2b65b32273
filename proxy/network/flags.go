package network

import (
	"errors"
	"strings"
)

// Flag is a set of Envoy's response flags, in the order they are printed.
type Flag uint32

// Response flags; the short names are Envoy's.
const (
	FlagLH Flag = 1 << iota
	FlagUH
	FlagUT
	FlagLR
	FlagUR
	FlagUF
	FlagUC
	FlagUO
	FlagNR
	FlagDI
	FlagFI
	FlagRL
	FlagUAEX
	FlagRLSE
	FlagDC
	FlagURX
	FlagSI
	FlagIH
	FlagDPE
	FlagUMSDR
	FlagRFCF
	FlagNFCF
	FlagDT
	FlagUPE
	FlagNC
	FlagOM
	FlagDF
	FlagDO
	FlagDR
	FlagUDO
)

type flagName struct {
	flag        Flag
	short, long string
}

// flagNames is a constant in all but name: a log line asks for it each time.
var flagNames = [...]flagName{
	{FlagLH, "LH", "FailedLocalHealthCheck"}, {FlagUH, "UH", "NoHealthyUpstream"},
	{FlagUT, "UT", "UpstreamRequestTimeout"}, {FlagLR, "LR", "LocalReset"},
	{FlagUR, "UR", "UpstreamRemoteReset"}, {FlagUF, "UF", "UpstreamConnectionFailure"},
	{FlagUC, "UC", "UpstreamConnectionTermination"}, {FlagUO, "UO", "UpstreamOverflow"},
	{FlagNR, "NR", "NoRouteFound"}, {FlagDI, "DI", "DelayInjected"},
	{FlagFI, "FI", "FaultInjected"}, {FlagRL, "RL", "RateLimited"},
	{FlagUAEX, "UAEX", "UnauthorizedExternalService"}, {FlagRLSE, "RLSE", "RateLimitServiceError"},
	{FlagDC, "DC", "DownstreamConnectionTermination"}, {FlagURX, "URX", "UpstreamRetryLimitExceeded"},
	{FlagSI, "SI", "StreamIdleTimeout"}, {FlagIH, "IH", "InvalidEnvoyRequestHeaders"},
	{FlagDPE, "DPE", "DownstreamProtocolError"}, {FlagUMSDR, "UMSDR", "UpstreamMaxStreamDurationReached"},
	{FlagRFCF, "RFCF", "ResponseFromCacheFilter"}, {FlagNFCF, "NFCF", "NoFilterConfigFound"},
	{FlagDT, "DT", "DurationTimeout"}, {FlagUPE, "UPE", "UpstreamProtocolError"},
	{FlagNC, "NC", "NoClusterFound"}, {FlagOM, "OM", "OverloadManagerTerminated"},
	{FlagDF, "DF", "DnsResolutionFailed"}, {FlagDO, "DO", "DropOverload"},
	{FlagDR, "DR", "DownstreamRemoteReset"}, {FlagUDO, "UDO", "UnconditionalDropOverload"},
}

// String prints the short names joined with commas, "-" for none.
func (f Flag) String() string { return f.join(func(n flagName) string { return n.short }) }

// Long prints the long names joined with commas, "-" for none.
func (f Flag) Long() string { return f.join(func(n flagName) string { return n.long }) }

func (f Flag) join(name func(flagName) string) string {
	if f == 0 {
		return "-"
	}
	var out []string
	for _, n := range flagNames {
		if f&n.flag != 0 {
			out = append(out, name(n))
		}
	}
	return strings.Join(out, ",")
}

// FlagFor classifies a failed connect in Envoy's terms: the chain is asked for
// a Flag() first, then its Reason.
func FlagFor(err error) Flag {
	if err == nil {
		return 0
	}
	var typed interface{ Flag() Flag }
	if errors.As(err, &typed) {
		return typed.Flag()
	}
	return ReasonFor(err).Flag()
}

// ResetError is a stream or connection that was aborted rather than ended.
type ResetError struct {
	// Remote: the peer aborted it. Else we did, or something of ours.
	Remote bool
	// Code is the peer's or our code in its protocol's numbering (HTTP/2 RFC
	// 9113 §7), 0 where the protocol has none (TCP RST).
	Code uint64
	// Err is the underlying error, for a person; may be nil.
	Err error
}

func (e *ResetError) Error() string {
	who := "reset"
	if e.Remote {
		who = "reset by peer"
	}
	if e.Err != nil {
		return who + ": " + e.Err.Error()
	}
	return who
}

func (e *ResetError) Unwrap() error { return e.Err }

// IsReset reports whether err is an abort by the peer: a *ResetError with
// Remote, or the kernel's word for it (ECONNRESET, EPIPE).
func IsReset(err error) bool {
	var r *ResetError
	if errors.As(err, &r) {
		return r.Remote
	}
	return isKernelReset(err)
}
