package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"culvert/configs/field"
	"culvert/proxy/codec"
	"culvert/proxy/network"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
)

// StateOriginalDst is the filter state that chooses the endpoint of an
// ORIGINAL_DST cluster before anything else: an ip:port string or a
// network.Address.
const StateOriginalDst = "envoy.network.transport_socket.original_dst_address"

// defaultDstHeader names the request header that chooses, unless configured.
const defaultDstHeader = "x-envoy-original-dst-host"

// originalDst is a cluster of type ORIGINAL_DST: each flow brings its endpoint.
// A target that a request names is the client's choice, and so is one that
// filter state holds: they pass the policy, or the default one. The address
// that a captured flow was sent to is what its application would have reached
// without us: only a policy that is given restricts it, and the loopback.
type originalDst struct {
	cluster string
	header  string // lower case; empty: none is read
	port    uint16 // replaces the target's; 0: not
	policy  *egressPolicy
	bound   func(netip.AddrPort) (network.Handler, bool)
	own     func() []netip.Prefix
	n       *counters
}

func newOriginalDst(m *clusterv3.Cluster, policy *egressPolicy, d Deps, n *counters) (*originalDst, error) {
	o := &originalDst{cluster: m.GetName(), policy: policy, bound: d.Bound, own: d.LocalAddresses, n: n}
	var errs []error
	if m.GetLoadAssignment() != nil {
		errs = append(errs, field.Errorf("load_assignment", "ORIGINAL_DST clusters must have no load assignment configured"))
	}
	lb := m.GetOriginalDstLbConfig()
	name := strings.ToLower(lb.GetHttpHeaderName())
	switch {
	case name != "" && !lb.GetUseHttpHeader():
		errs = append(errs, field.Errorf("original_dst_lb_config.http_header_name",
			"ORIGINAL_DST cluster: invalid config http_header_name=%s and use_http_header is false. Set use_http_header to true if http_header_name is desired.", lb.GetHttpHeaderName()))
	case lb.GetUseHttpHeader() && name == "":
		o.header = defaultDstHeader
	default:
		o.header = name
	}
	if v := lb.GetUpstreamPortOverride().GetValue(); v > 65535 {
		errs = append(errs, field.Errorf("original_dst_lb_config.upstream_port_override", "port must be at most 65535"))
	} else {
		o.port = uint16(v)
	}
	return o, field.Join(errs...)
}

func (o *originalDst) pick(_ context.Context, head *codec.Request, info *network.StreamInfo) (host, error) {
	target, check, err := o.target(head, info)
	if err != nil {
		return host{}, &NoHostError{Cluster: o.cluster, Err: err}
	}
	if o.port != 0 {
		target.IP = netip.AddrPortFrom(target.IP.Addr(), o.port)
	}
	if h, ok := o.bound(target.IP); ok {
		return host{address: target, handler: h}, nil
	}
	return host{address: target, check: check}, nil
}

// target finds the endpoint, in Envoy's order: filter state, header, where the
// connection was going.
func (o *originalDst) target(head *codec.Request, info *network.StreamInfo) (network.Address, Check, error) {
	if v, ok := info.FilterState[StateOriginalDst]; ok {
		a, err := o.parse(fmt.Sprint(v))
		return a, o.checkChosen(info), err
	}
	if v, ok := o.fromHeader(head); ok {
		// A bad value is not replaced by where the connection was going: it
		// would reach what nobody asked for.
		a, err := o.parse(v)
		return a, o.checkChosen(info), err
	}
	if info.Restored() {
		return info.LocalAddress, o.checkCaptured(), nil
	}
	return network.Address{}, nil, errors.New("no original destination")
}

// fromHeader is the first value of the header.
func (o *originalDst) fromHeader(head *codec.Request) (string, bool) {
	if head == nil || o.header == "" {
		return "", false
	}
	switch o.header {
	case ":authority", "host":
		return head.Authority, head.Authority != ""
	}
	return head.Header.Get(o.header), head.Header.Has(o.header)
}

// parse wants a literal IP and a port: this type of cluster asks no DNS.
func (o *originalDst) parse(s string) (network.Address, error) {
	a, err := network.ParseHostPort(s)
	if err == nil && a.Kind != network.AddressIP {
		err = fmt.Errorf("address %q: not an IP", s)
	}
	if err != nil {
		o.n.originalDstInvalid.Inc()
		return network.Address{}, network.WithReason(network.ReasonNoHealthy, err)
	}
	return a, nil
}

// checkChosen is the policy for what a client chose. Without one, a request
// that came to a loopback listener may go to loopback: it came from there.
func (o *originalDst) checkChosen(info *network.StreamInfo) Check {
	p := o.policy
	if p == nil {
		p = &egressPolicy{}
		if arrivedOnLoopback(info) {
			p.permitted = classLoopback
		}
	}
	return func(target netip.AddrPort) error { return p.check(target, o.own()) }
}

func (o *originalDst) checkCaptured() Check {
	p := o.policy
	if p == nil {
		p = &egressPolicy{permitted: classLinkLocal | classMetadata | classPrivate | classOwn}
	}
	return func(target netip.AddrPort) error { return p.check(target, o.own()) }
}

// arrivedOnLoopback looks at the socket the outermost flow came in by; what was
// captured came by none.
func arrivedOnLoopback(info *network.StreamInfo) bool {
	for info.Parent != nil {
		info = info.Parent
	}
	if _, captured := info.FilterState[network.StateDestination]; captured {
		return false
	}
	a := info.DirectLocalAddress
	if a.IsZero() {
		a = info.LocalAddress
	}
	return a.Kind == network.AddressIP && a.IP.Addr().IsLoopback()
}
