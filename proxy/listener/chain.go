package listener

import (
	"fmt"
	"time"

	"culvert/configs/field"
	"culvert/proxy/network"
	"culvert/proxy/transport"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rawbufferv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
)

// defaultTransportTimeout bounds a handshake: Envoy has no bound unless
// configured, and a peer that never finishes one would stay for ever.
const defaultTransportTimeout = 15 * time.Second

// chain is a filter chain, compiled.
type chain struct {
	name    string
	match   matcher
	handler network.Handler
	// transport is nil where bytes are not wrapped: then nobody need answer
	// before the filter does.
	transport transport.Downstream
	timeout   time.Duration
}

func newChains(label string, list []*listenerv3.FilterChain, d Deps) ([]*chain, error) {
	var out []*chain
	var errs []error
	for i, m := range list {
		c, err := newChain(m, d)
		if err != nil {
			errs = append(errs, field.At(field.Index("filter_chains", i), err))
			continue
		}
		out = append(out, c)
	}
	if err := field.Join(errs...); err != nil {
		return nil, err
	}
	return out, checkDistinct(label, out)
}

func newChain(m *listenerv3.FilterChain, d Deps) (*chain, error) {
	c := &chain{name: m.GetName(), timeout: defaultTransportTimeout}
	if t := m.GetTransportSocketConnectTimeout(); t != nil {
		c.timeout = t.AsDuration()
	}
	var errs [3]error
	c.match, errs[0] = newMatcher(m.GetFilterChainMatch())
	if !isRaw(m.GetTransportSocket()) {
		c.transport, errs[1] = transport.NewDownstream(m.GetTransportSocket(), d.Transport)
	}
	c.handler, errs[2] = newFilters(m.GetFilters(), d)
	return c, field.Join(field.At("filter_chain_match", errs[0]), field.At("transport_socket", errs[1]), errs[2])
}

func isRaw(ts *corev3.TransportSocket) bool {
	return ts == nil || ts.GetTypedConfig().MessageIs(&rawbufferv3.RawBuffer{})
}

// newFilters compiles a chain's network filters: today one, which is terminal.
func newFilters(list []*listenerv3.Filter, d Deps) (network.Handler, error) {
	switch len(list) {
	case 1:
		h, err := d.NetworkFilter(list[0])
		return h, field.At("filters[0]", err)
	case 0:
		return nil, field.Errorf("filters", "a filter chain needs a terminal filter")
	}
	return nil, field.Errorf("filters[1]", "only one network filter, the terminal one, is supported")
}

// checkDistinct refuses chains that some flow would match equally.
func checkDistinct(label string, chains []*chain) error {
	for i, b := range chains {
		for _, a := range chains[:i] {
			path := field.Index("filter_chains", i) + ".filter_chain_match"
			switch {
			case a.match.equal(&b.match):
				return &field.Error{Path: path, Err: fmt.Errorf(
					"error adding listener '%s': multiple filter chains with the same matching rules are defined", label)}
			case a.match.overlaps(&b.match):
				return &field.Error{Path: path, Err: fmt.Errorf(
					"error adding listener '%s': multiple filter chains with overlapping matching rules are defined", label)}
			}
		}
	}
	return nil
}
