package appliance

import (
	"fmt"

	"culvert/configs"
	"culvert/configs/culvert/v1"
	"culvert/configs/field"
	internallisteners "culvert/internal-listeners"
	"culvert/proxy/codec"
	"culvert/proxy/hcm"
	"culvert/proxy/httpfilter/dynamicforwardproxy"
	"culvert/proxy/httpfilter/router"
	"culvert/proxy/network"
	"culvert/proxy/tcpproxy"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	internal_listenerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/bootstrap/internal_listener/v3"
	dfpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/dynamic_forward_proxy/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcp_proxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// This file is the table of extensions: a category each, from the type of its
// message to its constructor. What is not here does not exist.

// networkFilter builds a network filter of a filter chain.
func (b *builder) networkFilter(f *listenerv3.Filter) (network.Handler, error) {
	m, err := unpack(f.GetName(), f.GetTypedConfig())
	if err != nil {
		return nil, err
	}
	switch m := m.(type) {
	case *tcp_proxyv3.TcpProxy:
		return built(tcpproxy.New(m, b.tcpProxyDeps()))
	case *hcmv3.HttpConnectionManager:
		return built(hcm.New(m, b.hcmDeps()))
	}
	return nil, notFound(f, f.GetTypedConfig())
}

// httpFilter builds a filter of an HTTP filter chain.
func (b *builder) httpFilter(f *hcmv3.HttpFilter) (codec.Filter, error) {
	m, err := unpack(f.GetName(), f.GetTypedConfig())
	if err != nil {
		return nil, err
	}
	switch m := m.(type) {
	case *routerv3.Router:
		r, err := router.New(m, b.routerDeps())
		return r, field.At("typed_config", err)
	case *dfpv3.FilterConfig:
		d, err := dynamicforwardproxy.New(m, dynamicforwardproxy.Deps{
			Clusters: func(name string) (dynamicforwardproxy.Cluster, bool) {
				return found[dynamicforwardproxy.Cluster](b.g.clusters.Get(name))
			},
		})
		return d, field.At("typed_config", err)
	}
	return nil, notFound(f, f.GetTypedConfig())
}

// bootstrapExtensions reads the extensions of the process.
func (b *builder) bootstrapExtensions(list []*corev3.TypedExtensionConfig) error {
	var errs []error
	for i, e := range list {
		if err := b.bootstrapExtension(field.Index("bootstrap_extensions", i), e); err != nil {
			errs = append(errs, field.At(field.Index("bootstrap_extensions", i), err))
		}
	}
	return field.Join(errs...)
}

func (b *builder) bootstrapExtension(path string, e *corev3.TypedExtensionConfig) error {
	m, err := unpack(e.GetName(), e.GetTypedConfig())
	if err != nil {
		return err
	}
	switch m := m.(type) {
	case *internal_listenerv3.InternalListener:
		b.internalListeners = true
		b.pipeSize = internallisteners.BufferSize(m.GetBufferSizeKb().GetValue())
		return nil
	case *culvertv1.Tun:
		spec, err := newTunSpec(m)
		spec.path = path + ".typed_config"
		b.g.tuns = append(b.g.tuns, spec)
		return field.At("typed_config", err)
	}
	return unregistered(e.GetName(), e.GetTypedConfig())
}

func built[H network.Handler](h H, err error) (network.Handler, error) {
	if err != nil {
		return nil, field.At("typed_config", err)
	}
	return h, nil
}

// unpack reads an extension's message; without one there is nothing to find.
func unpack(name string, a *anypb.Any) (proto.Message, error) {
	if a == nil {
		return nil, unregistered(name, a)
	}
	m, err := a.UnmarshalNew()
	if err != nil {
		return nil, field.At("typed_config", fmt.Errorf("%s: %w", name, err))
	}
	return m, nil
}

// notFound is an extension that is of another kind than its place wants, or that
// does not exist. The checker of fields says the same, and is told once.
func notFound(outer interface {
	proto.Message
	GetName() string
}, a *anypb.Any) error {
	if wrong := configs.WrongKind(outer.ProtoReflect().Descriptor().FullName(), a.MessageName()); wrong != "" {
		return field.Errorf("typed_config", "%s", wrong)
	}
	return unregistered(outer.GetName(), a)
}

// unregistered is worded as Envoy words it.
func unregistered(name string, a *anypb.Any) error {
	path := "typed_config"
	if a == nil {
		path = "" // it is missing: the extension is the place
	}
	return field.Errorf(path, "Didn't find a registered implementation for '%s' with type URL: '%s'", name, typeName(a))
}

func typeName(a *anypb.Any) string { return string(a.MessageName()) }
