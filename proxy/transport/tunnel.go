package transport

import (
	"context"
	"errors"
	"fmt"

	culvertv1 "culvert/configs/culvert/v1"
	"culvert/configs/field"
	"culvert/proxy/format"
	"culvert/proxy/network"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// tunnelUpstream goes through a CONNECT of another cluster.
type tunnelUpstream struct {
	wrapping
	cluster string
	target  *format.Format // nil: the endpoint
	open    func(ctx context.Context, cluster, authority string, info *network.StreamInfo) (network.Conn, error)
}

func newTunnelUpstream(m *culvertv1.TunnelTransport, d Deps) (Upstream, error) {
	inner, innerErr := newInner(m.GetTransportSocket(), d)
	u := &tunnelUpstream{wrapping: wrapping{inner}, cluster: m.GetCluster(), open: d.Tunnel}
	errs := []error{field.At("transport_socket", innerErr)}
	if u.cluster == "" {
		errs = append(errs, field.Errorf("cluster", "names no cluster"))
	}
	if u.open == nil {
		errs = append(errs, field.Errorf("cluster", "tunnels are not available here"))
	}
	if m.GetHostname() != "" {
		var err error
		u.target, err = format.Compile(m.GetHostname())
		errs = append(errs, field.At("hostname", err))
		if err == nil && u.target.IsConstant() {
			_, err := network.ParseHostPort(u.target.String(&format.Context{Info: network.NewStreamInfo(0)}))
			errs = append(errs, field.At("hostname", err))
		}
	}
	if err := field.Join(errs...); err != nil {
		return nil, err
	}
	return u, nil
}

// newInner compiles a transport socket's configuration that stands by itself;
// nil is bytes as they are.
func newInner(packed *anypb.Any, d Deps) (Upstream, error) {
	if packed == nil {
		return rawUpstream{}, nil
	}
	m, err := packed.UnmarshalNew()
	if err != nil {
		return nil, err
	}
	ts := &corev3.TransportSocket{ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: packed}}
	return compileUpstream(ts, m, d)
}

// TunnelCluster is the cluster that u's connections go through, and false if
// they do not. Whoever knows all clusters sees to it that it is one of them and
// that the way comes to an end.
func TunnelCluster(u Upstream) (string, bool) {
	for u != nil {
		switch t := u.(type) {
		case *tunnelUpstream:
			return t.cluster, true
		case *proxyProtocolUpstream:
			u = t.inner
		case *InternalUpstream:
			u = t.inner
		case *http11Proxy:
			u = t.inner
		default:
			return "", false
		}
	}
	return "", false
}

func (u *tunnelUpstream) way(o Options) (Way, error) {
	authority, err := u.authority(o)
	if err != nil {
		return Way{}, network.WithReason(network.ReasonGateway, err)
	}
	return Way{Open: func(ctx context.Context) (network.Conn, error) {
		return u.open(ctx, u.cluster, authority, o.Info)
	}}, nil
}

// authority is what the CONNECT asks for. A format may hold what a client said:
// what is no host and port is refused.
func (u *tunnelUpstream) authority(o Options) (string, error) {
	if u.target == nil {
		switch o.Endpoint.Kind {
		case network.AddressIP, network.AddressName:
			return o.Endpoint.String(), nil
		}
		return "", fmt.Errorf("endpoint %s cannot be reached through a tunnel", o.Endpoint)
	}
	info := o.Info
	if info == nil {
		info = network.NewStreamInfo(0)
	}
	s := u.target.String(&format.Context{Info: info})
	if _, err := network.ParseHostPort(s); err != nil {
		return "", errors.New("tunnel hostname: the format makes no host:port of this flow")
	}
	return s, nil
}

func (u *tunnelUpstream) poolKey(o Options) (string, error) {
	authority, err := u.authority(o)
	if err != nil {
		return "", err
	}
	return joinKeys(authority, u.inner, o)
}

// Wrap speaks the inner transport over c, a tunnel that way opened.
func (u *tunnelUpstream) Wrap(ctx context.Context, c network.Conn, o Options) (network.Conn, error) {
	return u.inner.Wrap(ctx, c, o)
}
