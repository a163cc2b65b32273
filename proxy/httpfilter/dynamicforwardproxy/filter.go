package dynamicforwardproxy

import (
	"context"

	"culvert/configs/field"
	"culvert/proxy/cluster"
	"culvert/proxy/codec"
	"culvert/proxy/network"
	"culvert/proxy/route"

	dynamicv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/dynamic_forward_proxy/v3"
)

// Cluster resolves what a request names. It does nothing where requests do not
// name its endpoints.
type Cluster interface {
	ResolveHost(ctx context.Context, head *codec.Request, info *network.StreamInfo) error
}

// Deps are the filter's collaborators.
type Deps struct {
	// Clusters finds a cluster by name, asked for each request.
	Clusters func(name string) (Cluster, bool)
}

// Filter is immutable and safe from any goroutine.
type Filter struct{ deps Deps }

// Honoured declares the fields this package reads; what a dns_cache_config holds
// is the cluster's to declare.
func Honoured() field.Honoured {
	return field.Honoured{"envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig": "dns_cache_config"}
}

// New compiles the filter. Errors are field errors.
func New(m *dynamicv3.FilterConfig, d Deps) (*Filter, error) {
	if m.GetDnsCacheConfig() == nil {
		return nil, field.Errorf("dns_cache_config", "required")
	}
	if err := cluster.CheckDNSCache(m.GetDnsCacheConfig()); err != nil {
		return nil, field.At("dns_cache_config", err)
	}
	return &Filter{d}, nil
}

// RoundTrip resolves, then goes on. What the cluster refuses for another reason
// is the router's to answer.
func (f *Filter) RoundTrip(ctx context.Context, x *codec.Exchange, next codec.RoundTripper) error {
	if d, ok := x.Route.(*route.Decision); ok && d != nil && d.Cluster != "" {
		if c, ok := f.deps.Clusters(d.Cluster); ok {
			if reply := failure(c.ResolveHost(ctx, x.Request, x.Info)); reply != nil {
				return reply
			}
		}
	}
	return next(ctx, x)
}

// failure is the answer to a name that has no addresses; nil if it has some. The
// words are Envoy's.
func failure(err error) error {
	switch {
	case err == nil:
		return nil
	case network.ReasonFor(err) == network.ReasonDNS:
		return &codec.LocalReply{
			Status: 503, Body: "DNS resolution failure", Flags: network.FlagDF,
			Details: "dns_resolution_failure", Reason: network.ReasonDNS, Err: err,
		}
	case network.ReasonFor(err) == network.ReasonOverflow:
		return &codec.LocalReply{
			Status: 503, Body: "DNS cache overflow", Flags: network.FlagUO,
			Details: "dns_cache_overflow", Reason: network.ReasonOverflow, Err: err,
		}
	}
	return nil
}
