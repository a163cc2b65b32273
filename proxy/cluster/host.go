package cluster

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"culvert/configs/field"
	"culvert/proxy/codec"
	"culvert/proxy/network"
	"culvert/proxy/transport"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
)

// host is an endpoint: what is picked. It is immutable but for its counts.
type host struct {
	address network.Address
	// name is the endpoint's hostname field, or the name it was found under.
	name string
	// targets, where set, are the addresses to dial instead of address: a name
	// that is resolved already.
	targets []network.Address
	// chosen: a request named it.
	chosen bool
	// check is set where a client chose the address; reach tells choices apart
	// that may go to different addresses, so that they share no connection.
	check Check
	reach addressClass
	// handler serves the address inside the process (Deps.Bound); nil: it is
	// dialled.
	handler network.Handler

	weight   uint32 // at least 1
	priority uint32
	health   corev3.HealthStatus
	locality *corev3.Locality
	metadata *corev3.Metadata
	around   *corev3.Metadata // the locality's
	n        *hostCounts
}

// poolKey tells endpoints apart.
type poolKey struct {
	address network.Address
	name    string
	reach   addressClass
}

func (h *host) key() poolKey { return poolKey{h.address, h.name, h.reach} }

// inProcess reports an endpoint that no socket leads to.
func (h *host) inProcess() bool { return h.handler != nil || h.address.Kind == network.AddressInternal }

// usable reports whether traffic may go to it at all; degraded whether only if
// nothing better is left.
func (h *host) usable() bool {
	switch h.health {
	case corev3.HealthStatus_UNHEALTHY, corev3.HealthStatus_DRAINING, corev3.HealthStatus_TIMEOUT:
		return false
	}
	return true
}

func (h *host) degraded() bool { return h.health == corev3.HealthStatus_DEGRADED }

// hostCounts are the counts of one endpoint, as /clusters shows them.
type hostCounts struct {
	cxActive, cxTotal, cxConnectFail                 atomic.Int64
	rqActive, rqTotal, rqSuccess, rqError, rqTimeout atomic.Int64

	lastUsed atomic.Int64 // Unix nanoseconds; of endpoints that nobody configured
}

func (n *hostCounts) use() { n.lastUsed.Store(time.Now().UnixNano()) }

// hostSource picks endpoints. Its methods are called from any goroutine: pick
// once an attempt, with a nil head outside HTTP; hosts for what is connected to
// in advance, and known, which waits for nobody, for whoever looks.
type hostSource interface {
	pick(ctx context.Context, head *codec.Request, info *network.StreamInfo) (*host, error)
	hosts(ctx context.Context) []*host
	known() []*host
}

// endpoints reads the endpoints of a load_assignment.
func endpoints(m *endpointv3.ClusterLoadAssignment) ([]*host, error) {
	var out []*host
	var errs []error
	for i, locality := range m.GetEndpoints() {
		_, err := transport.ProxyOf(locality.GetMetadata())
		errs = append(errs, field.At(field.Index("load_assignment.endpoints", i)+".metadata", err))
		for j, lb := range locality.GetLbEndpoints() {
			path := field.Index(field.Index("load_assignment.endpoints", i)+".lb_endpoints", j)
			e := lb.GetEndpoint()
			if e == nil {
				errs = append(errs, field.Errorf(path, "an endpoint is required"))
				continue
			}
			a, err := endpointAddress(e.GetAddress())
			if err != nil {
				errs = append(errs, field.At(path+".endpoint.address", err))
				continue
			}
			errs = append(errs, field.At(path+".metadata", transport.CheckHostMetadata(lb.GetMetadata())))
			out = append(out, &host{
				address: a, name: e.GetHostname(),
				weight: max(lb.GetLoadBalancingWeight().GetValue(), 1), priority: locality.GetPriority(),
				health: lb.GetHealthStatus(), locality: locality.GetLocality(), metadata: lb.GetMetadata(), around: locality.GetMetadata(),
				n: new(hostCounts),
			})
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
