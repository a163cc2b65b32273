package transport

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"culvert/configs/field"
	"culvert/proxy/network"
	"culvert/proxy/stats"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	iuv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/internal_upstream/v3"
	metadatav3 "github.com/envoyproxy/go-control-plane/envoy/type/metadata/v3"
)

// InternalUpstream says what crosses into an internal listener: metadata of the
// cluster and of the endpoint, and the filter state that is shared. About the
// bytes it says nothing: that is its inner transport.
type InternalUpstream struct {
	wrapping
	sources []metadataSource
	missing *stats.Counter // internal_upstream.no_metadata
}

// metadataSource is a namespace of metadata to pass.
type metadataSource struct {
	host bool // of the endpoint, else of the cluster
	name string
}

func newInternalUpstream(m *iuv3.InternalUpstreamTransport, d Deps) (Upstream, error) {
	inner, innerErr := NewUpstream(m.GetTransportSocket(), d)
	u := &InternalUpstream{wrapping: wrapping{inner}, missing: d.Stats.Scope("internal_upstream.").Counter("no_metadata")}
	errs := []error{field.At("transport_socket", innerErr)}
	for i, p := range m.GetPassthroughMetadata() {
		s := metadataSource{name: p.GetName()}
		switch p.GetKind().GetKind().(type) {
		case *metadatav3.MetadataKind_Host_:
			s.host = true
		case *metadatav3.MetadataKind_Cluster_:
		default:
			errs = append(errs, field.At(field.Index("passthrough_metadata", i)+".kind", errors.New("metadata type is not supported")))
		}
		u.sources = append(u.sources, s)
	}
	if err := field.Join(errs...); err != nil {
		return nil, err
	}
	return u, nil
}

// Internal finds the internal_upstream in u.
func Internal(u Upstream) (*InternalUpstream, bool) {
	i, ok := u.(*InternalUpstream)
	return i, ok
}

// Wrap implements Upstream.
func (u *InternalUpstream) Wrap(ctx context.Context, c network.Conn, o Options) (network.Conn, error) {
	return u.inner.Wrap(ctx, c, o)
}

// Passthrough gives inner, the info of a flow on its way into an internal
// listener, what crosses from flow: dynamic metadata, where the later source of
// a name replaces the earlier, and shared filter state. Metadata that is not
// there is counted.
func (u *InternalUpstream) Passthrough(flow, inner *network.StreamInfo, cluster, host *corev3.Metadata) {
	for _, s := range u.sources {
		from := cluster
		if s.host {
			from = host
		}
		values, ok := from.GetFilterMetadata()[s.name]
		if !ok {
			u.missing.Inc()
			continue
		}
		delete(inner.Metadata, s.name)
		for key, v := range values.GetFields() {
			inner.SetMetadata(s.name, key, v.AsInterface())
		}
	}
	flow.PassFilterState(inner)
}

// poolKey tells flows apart that share different state: what crossed with the
// first flow of a connection would be that of all.
func (u *InternalUpstream) poolKey(o Options) (string, error) {
	var b strings.Builder
	if o.Info != nil {
		for _, name := range o.Info.SharedFilterState() {
			v, _ := o.Info.LookupFilterState(name)
			fmt.Fprintf(&b, "%q=%q\n", name, fmt.Sprint(v))
		}
	}
	return joinKeys(b.String(), u.inner, o)
}
