package listenerfilter

import (
	"context"
	"fmt"

	"culvert/configs/field"
	"culvert/proxy/network"
	"culvert/proxy/stats"
	"culvert/proxy/transport/proxyprotocol"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	origdstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	ppv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
)

// Filter looks at a connection. The listener calls its filters one after the
// other, from the flow's goroutine, before it matches a chain.
type Filter interface {
	// Inspect looks, and writes what it finds into p's Info. It returns when it
	// knows, or with the cause of ctx when that ends first: how long it may wait
	// for bytes, and whether the connection goes on without, the listener
	// decides. Any other error ends the connection. A filter that needs no bytes
	// reads none, so that the flow stays unanswered.
	Inspect(ctx context.Context, p *network.Peek) error
}

// Deps are what filters need from outside.
type Deps struct {
	// Stats is the scope of the whole process: proxy_proto.* is in it.
	Stats *stats.Scope
	// Listener is the scope of the listener.
	Listener *stats.Scope
}

func (d Deps) withDefaults() Deps {
	none := stats.NewStore().Scope("")
	if d.Stats == nil {
		d.Stats = none
	}
	if d.Listener == nil {
		d.Listener = none
	}
	return d
}

// New compiles a listener filter. Errors are field errors.
func New(m *listenerv3.ListenerFilter, d Deps) (Filter, error) {
	if m.GetTypedConfig() == nil {
		return nil, unknown(m)
	}
	config, err := m.GetTypedConfig().UnmarshalNew()
	if err != nil {
		return nil, field.At("typed_config", err)
	}
	switch config := config.(type) {
	case *ppv3.ProxyProtocol:
		f, err := NewProxyProtocol(config, d)
		if err != nil {
			return nil, field.At("typed_config", err)
		}
		return f, nil
	case *origdstv3.OriginalDst:
		return OriginalDst{}, nil
	}
	return nil, unknown(m)
}

// unknown is Envoy's error for an extension that is not there.
func unknown(m *listenerv3.ListenerFilter) error {
	return field.WithFix(field.Errorf("typed_config",
		"Didn't find a registered implementation for '%s' with type URL: '%s'", m.GetName(), m.GetTypedConfig().GetTypeUrl()),
		"a listener filter is proxy_protocol or original_dst")
}

// Inspect runs filters one after the other, until one fails.
func Inspect(ctx context.Context, filters []Filter, p *network.Peek) error {
	for _, f := range filters {
		if err := f.Inspect(ctx, p); err != nil {
			return fmt.Errorf("listener filter %T: %w", f, err)
		}
	}
	return nil
}

// Honoured declares the fields the constructors read.
func Honoured() field.Honoured {
	const pp = "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"
	h := field.Honoured{
		"envoy.config.listener.v3.ListenerFilter": "name typed_config",
		pp:                   "rules allow_requests_without_proxy_protocol pass_through_tlvs disallowed_versions stat_prefix tlv_location",
		pp + ".Rule":         "tlv_type on_tlv_present",
		pp + ".KeyValuePair": "metadata_namespace key value_string_encoding",
		"envoy.extensions.filters.listener.original_dst.v3.OriginalDst": "",
	}
	h.Merge(proxyprotocol.Honoured())
	return h
}
