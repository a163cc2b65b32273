package cluster

import (
	"context"
	"log/slog"
	"net/netip"
	"syscall"

	"culvert/proxy/network"
	"culvert/proxy/resolver"
	"culvert/proxy/stats"
	"culvert/proxy/transport"
)

// Deps are what clusters need from outside. Only Stats and Flows are required.
type Deps struct {
	Stats *stats.Store
	// Flows numbers connections.
	Flows *network.FlowTable
	// Resolver finds addresses of names; required by clusters of type
	// LOGICAL_DNS and STRICT_DNS.
	Resolver  resolver.Resolver
	Transport transport.Deps
	// Lookup finds internal listeners; nil: there are none.
	Lookup network.HandlerLookup
	// DialInternal connects to an internal listener's handler for those who
	// write bytes themselves: HTTP, and transports that add something. info is
	// the inner flow's. It returns when the handler has answered: the cause of
	// its refusal is the error. ctx bounds the wait only. Nil: there is no such
	// connection.
	DialInternal func(ctx context.Context, h network.Handler, info *network.StreamInfo) (network.Conn, error)
	Log          *slog.Logger
	// Control is called for each socket before it connects, as
	// net.Dialer.Control is: to mark it, so that it never enters culvert's own
	// TUN. May be nil.
	Control func(network, address string, c syscall.RawConn) error
	// LocalAddresses are this machine's own addresses, those of culvert's
	// listeners, and what is routed into its TUN: what a client may not choose.
	// It is asked for each chosen target; networks the machine merely has a
	// foot in do not belong here. May be nil.
	LocalAddresses func() []netip.Prefix
	// Admin is where the admin listens, invalid where it does not: no target of a
	// client, whatever a policy says. May be nil.
	Admin func() netip.AddrPort
	// Bound finds who serves an address inside a netstack; false: the address
	// is none. It is asked for each target that a flow brings, before any
	// policy: what is bound there is the operator's word. May be nil.
	Bound func(netip.AddrPort) (network.Handler, bool)
	// StreamWindow is what a stream of a new HTTP/2 connection may buffer where
	// the configuration does not say, bytes; 0, or nil, is the codec's default.
	StreamWindow func() int
	// MayGrow says whether such a stream may come to buffer more, over a long path
	// (h2.Config). nil: never.
	MayGrow func() bool
	// Connector dials instead of kernel sockets; nil: kernel sockets.
	Connector Connector
}

func (d Deps) withDefaults() Deps {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Lookup == nil {
		d.Lookup = func(string) (network.Handler, bool) { return nil, false }
	}
	if d.LocalAddresses == nil {
		d.LocalAddresses = func() []netip.Prefix { return nil }
	}
	if d.Admin == nil {
		d.Admin = func() netip.AddrPort { return netip.AddrPort{} }
	}
	if d.Bound == nil {
		d.Bound = func(netip.AddrPort) (network.Handler, bool) { return nil, false }
	}
	return d
}
