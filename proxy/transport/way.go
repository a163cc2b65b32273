package transport

import (
	"context"

	culvertv1 "culvert/configs/culvert/v1"
	"culvert/proxy/network"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	h11v3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/http_11_proxy/v3"
)

// Way is how the connection beneath an upstream transport is made. The zero Way
// is to dial the endpoint.
type Way struct {
	// Proxy, where set, is dialled instead of the endpoint. The configuration
	// chose it, not a client. It may be a name; the endpoint's own name need not
	// be resolved.
	Proxy network.Address
	// Open, where set, opens the connection: nothing is dialled.
	Open func(ctx context.Context) (network.Conn, error)
}

// WayTo is how the connection is made that u then wraps. Whoever connects asks
// for each connection, with the Options that Wrap is given.
func WayTo(u Upstream, o Options) (Way, error) {
	if w, ok := u.(interface{ way(Options) (Way, error) }); ok {
		return w.way(o)
	}
	return Way{}, nil
}

// Detour is WayTo as far as a configuration alone tells it: where connections go
// instead of to an endpoint whose metadata and whose locality's these are. It is
// a proxy, or unset where they go through another cluster. False: they go to the
// endpoint.
func Detour(ts *corev3.TransportSocket, host, locality *corev3.Metadata) (proxy network.Address, ok bool) {
	m, err := unpack(ts)
	if err != nil {
		return network.Address{}, false
	}
	switch m := m.(type) {
	case *culvertv1.TunnelTransport:
		return network.Address{}, true
	case *h11v3.Http11ProxyUpstreamTransport:
		for _, metadata := range []*corev3.Metadata{host, locality} {
			if p, err := ProxyOf(metadata); err == nil && !p.IsZero() {
				return p, true
			}
		}
		if p, err := proxyAddress(m.GetDefaultProxyAddress()); err == nil {
			return p, true
		}
		return Detour(m.GetTransportSocket(), host, locality)
	case interface {
		GetTransportSocket() *corev3.TransportSocket
	}:
		return Detour(m.GetTransportSocket(), host, locality)
	}
	return network.Address{}, false
}

// PoolKey tells connections of u apart that flows of different Options must not
// share: each has a PROXY header, a proxy or a tunnel of its own. Connections
// with the same key, to the same endpoint, may be shared. It asks with the Info
// of the flow that looks for a connection.
func PoolKey(u Upstream, o Options) (string, error) {
	if k, ok := u.(interface{ poolKey(Options) (string, error) }); ok {
		return k.poolKey(o)
	}
	return "", nil
}

// AbsoluteForm reports that requests over HTTP/1.1 go through a proxy as such,
// without a CONNECT, since there is nothing to hide: their target must have the
// absolute form (RFC 9112 §3.2.2).
func AbsoluteForm(u Upstream, o Options) bool {
	a, ok := u.(interface{ absoluteForm(Options) bool })
	return ok && a.absoluteForm(o)
}

// Plain reports that u changes nothing about the bytes, so that a flow may be
// handed on instead of a connection made: it is raw_buffer, or internal_upstream
// around it.
func Plain(u Upstream) bool {
	switch u := u.(type) {
	case rawUpstream:
		return true
	case *InternalUpstream:
		return Plain(u.inner)
	}
	return false
}

// wrapping is what transports that have an inner one share. What they do not
// say otherwise is the inner one's affair.
type wrapping struct{ inner Upstream }

func (w wrapping) Secure() bool                      { return w.inner.Secure() }
func (w wrapping) way(o Options) (Way, error)        { return WayTo(w.inner, o) }
func (w wrapping) poolKey(o Options) (string, error) { return PoolKey(w.inner, o) }
func (w wrapping) absoluteForm(o Options) bool       { return AbsoluteForm(w.inner, o) }

// joinKeys makes one key of two.
func joinKeys(a string, inner Upstream, o Options) (string, error) {
	b, err := PoolKey(inner, o)
	if err != nil || b == "" {
		return a, err
	}
	return a + "\x00" + b, nil
}

// interruptible runs fn, which reads from c or writes to it, until ctx ends. On
// error c is aborted; the error is then the cause of ctx if that has ended.
func interruptible(ctx context.Context, c network.Conn, fn func() error) error {
	stop := context.AfterFunc(ctx, func() { c.Abort(context.Cause(ctx)) })
	err := fn()
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		c.Abort(err)
	}
	return err
}
