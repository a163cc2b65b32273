package dynamicforwardproxy

import (
	"context"
	"errors"
	"testing"

	"culvert/configs/configstest"
	"culvert/proxy/codec"
	"culvert/proxy/network"
	"culvert/proxy/route"

	dnscachev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/dynamic_forward_proxy/v3"
	dynamicv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/dynamic_forward_proxy/v3"
)

type resolves struct{ err error }

func (r resolves) ResolveHost(context.Context, *codec.Request, *network.StreamInfo) error {
	return r.err
}

func config() *dynamicv3.FilterConfig {
	return &dynamicv3.FilterConfig{ImplementationSpecifier: &dynamicv3.FilterConfig_DnsCacheConfig{
		DnsCacheConfig: &dnscachev3.DnsCacheConfig{Name: "c"},
	}}
}

// L08: a name that does not resolve is answered as such; the rest goes on.
func TestL08Answers(t *testing.T) {
	for _, tt := range []struct {
		name    string
		cluster string
		err     error
		status  int // 0: it goes on
		details string
	}{
		{"resolved", "dynamic", nil, 0, ""},
		{"no such name", "dynamic", network.WithReason(network.ReasonDNS, nil), 503, "dns_resolution_failure"},
		{"too many names", "dynamic", network.WithReason(network.ReasonOverflow, nil), 503, "dns_cache_overflow"},
		{"prohibited: the router's to say", "dynamic", network.WithReason(network.ReasonProhibited, nil), 0, ""},
		{"no such cluster", "gone", nil, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := New(config(), Deps{Clusters: func(name string) (Cluster, bool) { return resolves{tt.err}, name == "dynamic" }})
			if err != nil {
				t.Fatal(err)
			}
			went := false
			x := &codec.Exchange{Request: &codec.Request{}, Info: network.NewStreamInfo(1), Route: &route.Decision{Cluster: tt.cluster}}
			err = f.RoundTrip(t.Context(), x, func(context.Context, *codec.Exchange) error { went = true; return nil })
			var reply *codec.LocalReply
			switch {
			case tt.status == 0 && (err != nil || !went):
				t.Errorf("it did not go on: %v", err)
			case tt.status != 0 && (!errors.As(err, &reply) || reply.Status != tt.status || reply.Details != tt.details || went):
				t.Errorf("%v", err)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	if _, err := New(&dynamicv3.FilterConfig{}, Deps{}); err == nil {
		t.Error("no dns_cache_config")
	}
}

func TestHonoured(t *testing.T) { configstest.RefusesUndeclared(t, Honoured()) }
