package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"culvert/configs/field"
	"culvert/proxy/codec"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"
	"culvert/proxy/transport"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
)

// defaultConnectTimeout bounds a connect, its TLS handshake included, as
// Envoy's connect_timeout.
const defaultConnectTimeout = 5 * time.Second

// Cluster is a set of endpoints and the connections to them. It is safe from
// any goroutine. Create it with New; Run must be called, and ends what it
// started.
type Cluster struct {
	// immutable
	name           string
	deps           Deps
	connectTimeout time.Duration
	transport      transport.Upstream
	raw            bool // the transport changes no byte
	hosts          hostSource
	names          *names // resolves endpoints that are names
	http           httpSettings
	n              *counters
	breaker        *breaker
	newConn        func(network.Conn, h2.Config) httpConn

	life context.Context // of the connections in pools; ended by stop
	end  context.CancelCauseFunc
	work sync.WaitGroup // dials and connections of pools

	mu       sync.Mutex
	pools    map[poolKey]*pool // guarded by mu
	draining bool              // guarded by mu
	empty    chan struct{}     // guarded by mu: closed when the last pool goes, nil if nobody waits
}

// poolKey tells endpoints apart whose connections must not be shared.
type poolKey struct {
	address network.Address
	name    string
}

// errStopped is what connections see whose cluster has gone.
var errStopped = network.WithReason(network.ReasonGateway, errors.New("cluster is stopped"))

// New compiles a cluster. Errors are field errors.
func New(m *clusterv3.Cluster, d Deps) (*Cluster, error) {
	d = d.withDefaults()
	n := newCounters(d.Stats, m.GetName())
	c := &Cluster{
		name: m.GetName(), deps: d, n: n,
		connectTimeout: defaultConnectTimeout,
		names:          newNames(m, d, n),
		newConn:        newHTTPConn,
		pools:          make(map[poolKey]*pool),
		raw:            isRaw(m),
	}
	if t := m.GetConnectTimeout(); t != nil {
		c.connectTimeout = t.AsDuration()
	}
	opts, optsErr := newOptions(m, n)
	c.http = opts.http
	var errs [4]error
	c.transport, errs[0] = transport.NewUpstream(m.GetTransportSocket(), d.Transport)
	c.breaker, errs[1] = newBreaker(m.GetCircuitBreakers())
	c.hosts, errs[2] = c.newHosts(m, opts.egress)
	errs[3] = checkInternal(m)
	err := field.Join(optsErr, field.At("transport_socket", errs[0]), errs[1], errs[2], errs[3])
	if err != nil {
		return nil, err
	}
	c.life, c.end = context.WithCancelCause(context.Background())
	return c, nil
}

// newHosts makes the source of endpoints of the cluster's type.
func (c *Cluster) newHosts(m *clusterv3.Cluster, egress *egressPolicy) (hostSource, error) {
	if m.GetClusterType() != nil {
		return nil, field.Errorf("cluster_type", "cluster type %q is not supported", m.GetClusterType().GetName())
	}
	if err := checkPolicy(m); err != nil {
		return nil, err
	}
	if egress != nil && m.GetType() != clusterv3.Cluster_ORIGINAL_DST {
		return nil, field.Errorf("typed_extension_protocol_options",
			"an egress policy restricts what clients choose; in a cluster of type %s only the configuration chooses", m.GetType())
	}
	if m.GetOriginalDstLbConfig() != nil && m.GetType() != clusterv3.Cluster_ORIGINAL_DST {
		return nil, field.Errorf("original_dst_lb_config", "only for clusters of type ORIGINAL_DST")
	}
	switch m.GetType() {
	case clusterv3.Cluster_STATIC:
		return newStatic(m, c.n)
	case clusterv3.Cluster_LOGICAL_DNS:
		return newLogicalDNS(m, c.n)
	case clusterv3.Cluster_STRICT_DNS:
		return newStrictDNS(m, c.names)
	case clusterv3.Cluster_ORIGINAL_DST:
		return newOriginalDst(m, egress, c.deps, c.n)
	}
	return nil, field.Errorf("type", "cluster type %s is not supported", m.GetType())
}

// checkPolicy wants the load balancing policy that fits the type.
func checkPolicy(m *clusterv3.Cluster) error {
	provided := m.GetLbPolicy() == clusterv3.Cluster_CLUSTER_PROVIDED
	original := m.GetType() == clusterv3.Cluster_ORIGINAL_DST
	switch {
	case original && !provided:
		return &field.Error{
			Path: "lb_policy",
			Err:  fmt.Errorf("cluster: LB policy %s is not valid for Cluster type ORIGINAL_DST. Only 'CLUSTER_PROVIDED' is allowed with cluster type 'ORIGINAL_DST'", m.GetLbPolicy()),
			Fix:  "lb_policy: CLUSTER_PROVIDED",
		}
	case provided && !original:
		return field.Errorf("lb_policy", "cluster: LB policy CLUSTER_PROVIDED is not valid for Cluster type %s. 'CLUSTER_PROVIDED' is allowed only with cluster type 'ORIGINAL_DST'", m.GetType())
	case !original && m.GetLbPolicy() != clusterv3.Cluster_ROUND_ROBIN:
		return field.Errorf("lb_policy", "LB policy %s is not supported", m.GetLbPolicy())
	}
	return nil
}

// checkInternal refuses what would need a pipe: a transport over an internal
// endpoint.
func checkInternal(m *clusterv3.Cluster) error {
	if isRaw(m) {
		return nil
	}
	hosts, err := endpoints(m.GetLoadAssignment())
	for _, h := range hosts {
		if err == nil && h.address.Kind == network.AddressInternal {
			return field.Errorf("transport_socket", "internal endpoints take no transport socket yet")
		}
	}
	return nil
}

func isRaw(m *clusterv3.Cluster) bool {
	ts := m.GetTransportSocket()
	return ts == nil || ts.GetTypedConfig().MessageIs(rawBuffer())
}

// errWrapped is an endpoint in the process behind a transport socket.
var errWrapped = errors.New("what is bound inside a netstack takes no transport socket yet")

// Name is the cluster's name.
func (c *Cluster) Name() string { return c.name }

// Secure reports that connections are encrypted: :scheme is https.
func (c *Cluster) Secure() bool { return c.transport.Secure() }

// CheckHTTP says why the cluster cannot open HTTP streams; nil if it can. What
// needs streams asks when it is built, if it can.
func (c *Cluster) CheckHTTP() error {
	if !c.http.http2 {
		return &field.Error{
			Err: fmt.Errorf("cluster %q speaks HTTP/1.1, which is not supported yet", c.name),
			Fix: "typed_extension_protocol_options: envoy.extensions.upstreams.http.v3.HttpProtocolOptions: explicit_http_config: http2_protocol_options: {}",
		}
	}
	return nil
}

// Open makes a raw connection for a flow, transport included: one attempt, to
// an endpoint picked anew. For an internal endpoint it returns the handler to
// pass the flow to instead. It fills the upstream and the cluster of info. The
// caller closes the Conn.
func (c *Cluster) Open(ctx context.Context, info *network.StreamInfo) (network.Conn, network.Handler, error) {
	return c.OpenFor(ctx, nil, info)
}

// OpenFor is Open for a request that is terminated here: an ORIGINAL_DST
// cluster may read its target from the head.
func (c *Cluster) OpenFor(ctx context.Context, head *codec.Request, info *network.StreamInfo) (network.Conn, network.Handler, error) {
	h, err := c.pick(ctx, head, info)
	if err != nil {
		return nil, nil, err
	}
	if h.inProcess() {
		handler, err := c.internal(h, info)
		return nil, handler, err
	}
	if !c.breaker.connections.acquire() {
		c.n.cxOverflow.Inc()
		return nil, nil, overflow(c.name, "connections")
	}
	conn, err := c.connect(ctx, h, nil, info)
	if err != nil {
		c.breaker.connections.release()
		noteFailure(info, err)
		return nil, nil, err
	}
	info.SetUpstream(&network.UpstreamInfo{
		Cluster: c.name, Host: h.address, HostName: h.name,
		LocalAddress: network.AddressOf(conn.LocalAddr()), RemoteAddress: network.AddressOf(conn.RemoteAddr()),
		ConnectionID: c.deps.Flows.NextID(), TLS: transport.ConnTLS(conn),
	})
	info.Mark(network.StepConnected)
	return c.count(conn, info), nil, nil
}

// OpenStream opens an HTTP stream on a pooled connection to an endpoint picked
// anew, and sends its head. The caller closes the stream.
func (c *Cluster) OpenStream(ctx context.Context, head *codec.Request, info *network.StreamInfo) (codec.ClientStream, error) {
	if err := c.CheckHTTP(); err != nil {
		return nil, network.WithReason(network.ReasonGateway, err)
	}
	h, err := c.pick(ctx, head, info)
	if err != nil {
		return nil, err
	}
	if h.inProcess() {
		return nil, network.WithReason(network.ReasonGateway,
			fmt.Errorf("cluster %q endpoint %s: HTTP over internal endpoints is not supported yet", c.name, h.address))
	}
	if !c.breaker.requests.acquire() {
		c.n.rqPendingOverflow.Inc()
		return nil, overflow(c.name, "requests")
	}
	p, err := c.acquirePool(h)
	if err != nil {
		c.breaker.requests.release()
		return nil, err
	}
	defer c.letGo(p)
	s, pc, err := p.open(ctx, head, info)
	if err != nil {
		c.breaker.requests.release()
		noteFailure(info, err)
		return nil, err
	}
	c.n.rqTotal.Inc()
	c.n.rqActive.Inc() // until streamClosed
	info.SetUpstream(pc.upstream(s.ID()))
	return s, nil
}

// pick chooses the endpoint and asks the policy about one that a client chose.
func (c *Cluster) pick(ctx context.Context, head *codec.Request, info *network.StreamInfo) (host, error) {
	info.Cluster = c.name
	h, err := c.hosts.pick(ctx, head, info)
	if err != nil {
		c.n.cxNoneHealthy.Inc()
		return host{}, err
	}
	info.SetUpstream(&network.UpstreamInfo{Cluster: c.name, Host: h.address, HostName: h.name})
	info.Mark(network.StepPicked)
	// Asked here too, since a pooled connection is not dialled again.
	if h.check != nil {
		if err := h.check(h.address.IP); err != nil {
			c.n.cxConnectFail.Inc()
			return host{}, &ConnectError{Cluster: c.name, Endpoint: h.address, Err: err}
		}
	}
	return h, nil
}

// internal finds the handler of an endpoint in this process.
func (c *Cluster) internal(h host, info *network.StreamInfo) (network.Handler, error) {
	handler, ok := h.handler, true
	if handler == nil {
		handler, ok = c.deps.Lookup(h.address.Name)
	}
	switch {
	case !ok:
		return nil, c.noSuchListener(h)
	case !c.raw: // of an endpoint that a flow brings: the others are known when New is called
		c.n.cxConnectFail.Inc()
		return nil, &ConnectError{Cluster: c.name, Endpoint: h.address, Err: network.WithReason(network.ReasonGateway, errWrapped)}
	}
	info.SetUpstream(&network.UpstreamInfo{
		Cluster: c.name, Host: h.address, HostName: h.name,
		LocalAddress: network.InternalClient(), RemoteAddress: h.address,
	})
	c.n.cxTotal.Inc()
	return network.HandlerFunc(func(ctx context.Context, f network.Flow) error {
		c.n.cxActive.Inc()
		defer c.n.cxDestroy.Inc()
		defer c.n.cxActive.Dec()
		return handler.ServeFlow(ctx, f)
	}), nil
}

// noteFailure tells the flow why the transport failed.
func noteFailure(info *network.StreamInfo, err error) {
	var e *ConnectError
	if errors.As(err, &e) {
		info.TransportFailure = e.TransportFailure
	}
}
