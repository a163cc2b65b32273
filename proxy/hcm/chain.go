package hcm

import (
	"context"
	"strings"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"culvert/configs/field"
	"culvert/proxy/codec"
	"culvert/proxy/route"
)

// chain is a list of HTTP filters, the router last.
type chain []codec.Filter

// run lets the exchange through the filters from the first on. Each filter's
// frame is gone again before a body moves.
func (c chain) run(ctx context.Context, x *codec.Exchange) error {
	return c[0].RoundTrip(ctx, x, c[1:].run)
}

// terminal is a filter that answers by itself, so that nothing may follow it.
type terminal interface{ Terminal() bool }

// newChain compiles filters. kind is part of Envoy's error texts: http, or
// http upgrade.
func newChain(filters []*hcmv3.HttpFilter, build func(*hcmv3.HttpFilter) (codec.Filter, error), path, kind string) (chain, error) {
	var out chain
	var errs []error
	if len(filters) == 0 && kind == "http" { // an upgrade without filters uses these
		errs = append(errs, field.WithFix(field.Errorf(path, "no filter answers requests"), "add envoy.filters.http.router"))
	}
	ended := false
	for i, f := range filters {
		at := field.Index(path, i)
		filter, err := build(f)
		if err != nil {
			errs = append(errs, field.At(at, err))
			continue
		}
		out = append(out, filter)
		t, ok := filter.(terminal)
		ends, last := ok && t.Terminal(), i == len(filters)-1
		ended = ended || ends
		switch {
		case ends && !last:
			errs = append(errs, field.WithFix(field.Errorf(at,
				"Error: terminal filter named %s of type %s must be the last filter in a %s filter chain.",
				f.GetName(), filterType(f), kind), "move it to the end"))
		case last && !ended:
			errs = append(errs, field.WithFix(field.Errorf(at,
				"Error: non-terminal filter named %s of type %s is the last filter in a %s filter chain.",
				f.GetName(), filterType(f), kind), "add envoy.filters.http.router behind it"))
		}
	}
	return out, field.Join(errs...)
}

// filterType is the message a filter is configured with.
func filterType(f *hcmv3.HttpFilter) string {
	url := f.GetTypedConfig().GetTypeUrl()
	return url[strings.LastIndexByte(url, '/')+1:]
}

// upgrade is what the connection manager says of one upgrade type.
type upgrade struct {
	enabled bool
	chain   chain // nil: the default one
}

func newUpgrades(list []*hcmv3.HttpConnectionManager_UpgradeConfig, build func(*hcmv3.HttpFilter) (codec.Filter, error)) (map[string]*upgrade, error) {
	out := make(map[string]*upgrade, len(list))
	var errs []error
	for i, u := range list {
		at, kind := field.Index("upgrade_configs", i), strings.ToLower(u.GetUpgradeType())
		if out[kind] != nil {
			errs = append(errs, field.Errorf(at+".upgrade_type",
				"Error: multiple upgrade configs with the same name: '%s'", u.GetUpgradeType()))
			continue
		}
		c, err := newChain(u.GetFilters(), build, at+".filters", "http upgrade")
		errs = append(errs, err)
		out[kind] = &upgrade{enabled: u.GetEnabled() == nil || u.GetEnabled().Value, chain: c}
	}
	return out, field.Join(errs...)
}

// upgradeType is the word of upgrade_configs for what a request asks; empty for
// a request that asks for no tunnel.
func upgradeType(req *codec.Request) string {
	switch {
	case req.Protocol != "":
		return req.Protocol
	case req.Method == "CONNECT":
		return route.TypeConnect
	}
	return ""
}

// chainFor is the filter chain of a request on its route, nil if the route and
// the connection manager do not allow its upgrade. The route's word decides
// where it has one; else the type must be listed here and be enabled.
func (h *HCM) chainFor(kind string, r *route.Route) (chain, bool) {
	if kind == "" {
		return h.chain, true
	}
	ours := h.upgrades[strings.ToLower(kind)]
	if theirs := r.UpgradeFor(kind); theirs != nil {
		if !theirs.Enabled {
			return nil, false
		}
	} else if ours == nil || !ours.enabled {
		return nil, false
	}
	if ours != nil && ours.chain != nil {
		return ours.chain, true
	}
	return h.chain, true
}
