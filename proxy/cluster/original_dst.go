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
	cluster  string
	header   string       // lower case; empty: none is read
	port     uint16       // replaces the target's; 0: not
	metadata *metadataKey // where dynamic metadata has the target; nil: nowhere
	choice   choice
	n        *counters
	recent   *recentHosts
}

func newOriginalDst(m *clusterv3.Cluster, c choice, n *counters) (*originalDst, error) {
	o := &originalDst{
		cluster: m.GetName(), choice: c, n: n, recent: newRecentHosts(m, n),
		metadata: newMetadataKey(m.GetOriginalDstLbConfig().GetMetadataKey()),
	}
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

func (o *originalDst) pick(_ context.Context, head *codec.Request, info *network.StreamInfo) (*host, error) {
	target, p, err := o.target(head, info)
	if err != nil {
		return nil, &NoHostError{Cluster: o.cluster, Err: err}
	}
	if o.port != 0 {
		target.IP = netip.AddrPortFrom(target.IP.Addr(), o.port)
	}
	if h, ok := o.choice.bound(target.IP); ok {
		return o.recent.host(&host{address: target, handler: h}), nil
	}
	return o.recent.host(&host{address: target, check: o.choice.check(p), reach: p.permitted}), nil
}

// hosts: nothing is connected to before somebody names it.
func (o *originalDst) hosts(context.Context) []*host { return nil }
func (o *originalDst) known() []*host                { return o.recent.list() }

// target finds the endpoint, in Envoy's order: filter state, metadata, header,
// where the connection was going. What chooses badly is not replaced by what
// comes after it: that would reach what nobody asked for.
func (o *originalDst) target(head *codec.Request, info *network.StreamInfo) (network.Address, *egressPolicy, error) {
	if v, ok := info.LookupFilterState(StateOriginalDst); ok {
		a, err := o.parse(fmt.Sprint(v))
		return a, o.choice.chosen(info), err
	}
	if v, ok := o.metadata.find(info); ok {
		a, err := o.parse(v)
		return a, o.choice.chosen(info), err
	}
	if v, ok := o.fromHeader(head); ok {
		a, err := o.parse(v)
		return a, o.choice.chosen(info), err
	}
	if info.Restored() {
		return info.LocalAddress, o.choice.captured(), nil
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
