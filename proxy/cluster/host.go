package cluster

import (
	"context"
	"fmt"

	"culvert/proxy/codec"
	"culvert/proxy/network"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"culvert/configs/field"
)

// host is an endpoint: what is picked.
type host struct {
	address network.Address
	// name is the endpoint's hostname field.
	name string
	// check is set where a client chose the address.
	check Check
	// handler serves the address inside the process; nil: it is dialled.
	handler network.Handler
}

// inProcess reports an endpoint that no socket leads to.
func (h host) inProcess() bool { return h.handler != nil || h.address.Kind == network.AddressInternal }

// hostSource picks endpoints. pick is called from any goroutine, once an
// attempt; head is nil outside HTTP.
type hostSource interface {
	pick(ctx context.Context, head *codec.Request, info *network.StreamInfo) (host, error)
}

// endpoints reads the endpoints of a load_assignment.
func endpoints(m *endpointv3.ClusterLoadAssignment) ([]host, error) {
	var out []host
	var errs []error
	for i, locality := range m.GetEndpoints() {
		for j, lb := range locality.GetLbEndpoints() {
			path := field.Index(field.Index("load_assignment.endpoints", i)+".lb_endpoints", j) + ".endpoint"
			e := lb.GetEndpoint()
			a, err := endpointAddress(e.GetAddress())
			if err != nil {
				errs = append(errs, field.At(path+".address", err))
				continue
			}
			out = append(out, host{address: a, name: e.GetHostname()})
		}
	}
	return out, field.Join(errs...)
}

func endpointAddress(m *corev3.Address) (network.Address, error) {
	switch a := m.GetAddress().(type) {
	case *corev3.Address_SocketAddress:
		return socketAddress(a.SocketAddress)
	case *corev3.Address_Pipe:
		return network.PipeAddress(a.Pipe.GetPath()), nil
	case *corev3.Address_EnvoyInternalAddress:
		return network.InternalAddress(a.EnvoyInternalAddress.GetServerListenerName(), a.EnvoyInternalAddress.GetEndpointId()), nil
	}
	return network.Address{}, fmt.Errorf("an endpoint needs an address")
}

func socketAddress(m *corev3.SocketAddress) (network.Address, error) {
	switch {
	case m.GetProtocol() != corev3.SocketAddress_TCP:
		return network.Address{}, field.Errorf("socket_address.protocol", "only TCP endpoints are supported")
	case m.GetPortValue() == 0 || m.GetPortValue() > 65535:
		return network.Address{}, field.Errorf("socket_address.port_value", "port must be 1 to 65535")
	}
	return network.NameAddress(m.GetAddress(), uint16(m.GetPortValue())), nil
}
