package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"culvert/configs/field"
	"culvert/proxy/codec"
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
	message        *clusterv3.Cluster
	deps           Deps
	pooling        Connector // makes the sockets of HTTP pools
	connectTimeout time.Duration
	transport      transport.Upstream
	plain          bool // the transport adds nothing to the bytes
	alike          bool // its connections are the same, whoever they are for
	hosts          hostSource
	names          *nameCache // resolves endpoints that are names
	http           httpSettings
	preconnect     preconnect
	n              *counters
	breaker        *breaker
	spares         *spares
	newConn        func(c network.Conn, p codec.Proto, s *httpSettings, id uint64, closed func()) httpConn

	life context.Context // of the connections in pools; ended by stop
	end  context.CancelCauseFunc
	work sync.WaitGroup // dials, connections of pools, questions for names

	mu       sync.Mutex
	pools    map[httpKey]*pool // guarded by mu
	quiet    atomic.Bool       // connections are not kept for later
	draining bool              // guarded by mu
	stopped  bool              // guarded by mu: no more work begins
	empty    chan struct{}     // guarded by mu: closed when the last pool goes, nil if nobody waits
}

// errStopped is what connections see whose cluster has gone.
var errStopped = network.WithReason(network.ReasonGateway, errors.New("cluster is stopped"))

// New compiles a cluster. Errors are field errors.
func New(m *clusterv3.Cluster, d Deps) (*Cluster, error) {
	d = d.withDefaults()
	n := newCounters(d.Stats, statName(m))
	c := &Cluster{
		name: m.GetName(), message: m, deps: d, n: n,
		connectTimeout: defaultConnectTimeout,
		alike:          isAlike(m.GetTransportSocket()),
		newConn:        newHTTPConn,
		pools:          make(map[httpKey]*pool),
	}
	c.spares = newSpares(c)
	if t := m.GetConnectTimeout(); t != nil {
		c.connectTimeout = t.AsDuration()
	}
	opts, optsErr := newOptions(m, n)
	c.http, c.http.window, c.http.mayGrow = opts.http, d.StreamWindow, d.MayGrow
	var errs [6]error
	c.transport, errs[0] = c.newTransport(m)
	c.breaker, errs[1] = newBreaker(m.GetCircuitBreakers())
	c.names, errs[2] = newNames(m, c)
	c.preconnect, errs[3] = newPreconnect(m.GetPreconnectPolicy())
	c.hosts, errs[4] = c.newHosts(m, opts.egress)
	errs[5] = c.newConnector(m)
	err := field.Join(optsErr, field.Join(errs[:]...))
	if err != nil {
		return nil, err
	}
	c.life, c.end = context.WithCancelCause(context.Background())
	return c, nil
}

// newTransport compiles the transport_socket and looks whether what is asked of
// it can be had.
func (c *Cluster) newTransport(m *clusterv3.Cluster) (transport.Upstream, error) {
	d := c.deps.Transport
	d.Stats = c.n.scope
	u, err := transport.NewUpstream(m.GetTransportSocket(), d)
	if err != nil {
		return nil, field.At("transport_socket", err)
	}
	c.plain = transport.Plain(u)
	if c.http.speaks == speaksEither && !u.Secure() {
		return nil, field.Errorf("typed_extension_protocol_options",
			"ALPN configured for cluster %s which has a non-ALPN transport socket", c.name)
	}
	return u, nil
}

// newConnector makes the kernel's sockets of the cluster, unless somebody else
// connects for it.
func (c *Cluster) newConnector(m *clusterv3.Cluster) error {
	from, err := newSources(m.GetUpstreamBindConfig())
	c.pooling = c.deps.Connector
	if c.deps.Connector == nil {
		c.deps.Connector = &sockets{control: c.deps.Control, sources: from, unbound: c.n.bindErrors.Inc, short: c.complainer()}
		c.pooling = insistent{c.deps.Connector}
	}
	return field.At("upstream_bind_config", err)
}

// complainEvery is how often the log says that there are no sockets left.
const complainEvery = 10 * time.Second

// complainer tells the operator, once in a while, that connections cannot even be
// tried. Those who asked for them are told of an overflow.
func (c *Cluster) complainer() func(error) {
	seldom := &network.Seldom{Every: complainEvery}
	return func(err error) {
		if suppressed, ok := seldom.Allow(""); ok {
			c.deps.Log.Warn("no socket left to connect with", "cluster", c.name, "err", err, "suppressed", suppressed)
		}
	}
}

func statName(m *clusterv3.Cluster) string {
	if m.GetAltStatName() != "" {
		return m.GetAltStatName()
	}
	return m.GetName()
}

// Name is the cluster's name.
func (c *Cluster) Name() string { return c.name }

// Secure reports that connections are encrypted: :scheme is https.
func (c *Cluster) Secure() bool { return c.transport.Secure() }

// CheckHTTP says why the cluster cannot open HTTP streams; nil if it can. What
// needs streams asks when it is built, if it can.
func (c *Cluster) CheckHTTP() error { return nil }

// Open makes a raw connection for a flow, transport included: one attempt, to
// an endpoint picked anew. For an internal endpoint whose transport adds nothing
// it returns the handler to pass the flow to instead. It fills the upstream and
// the cluster of info. The caller closes the Conn.
func (c *Cluster) Open(ctx context.Context, info *network.StreamInfo) (network.Conn, network.Handler, error) {
	return c.OpenFor(ctx, nil, info)
}

// OpenFor is Open for a request that is terminated here: the cluster may read
// its target from the head, and max_stream_duration bounds the connection.
func (c *Cluster) OpenFor(ctx context.Context, head *codec.Request, info *network.StreamInfo) (network.Conn, network.Handler, error) {
	h, err := c.pick(ctx, head, info)
	if err != nil {
		return nil, nil, err
	}
	if h.inProcess() && c.plain {
		handler, err := c.internal(h, info)
		return nil, handler, err
	}
	conn, err := c.openRaw(ctx, h, info)
	if err != nil {
		noteFailure(info, err)
		return nil, nil, err
	}
	info.SetUpstream(&network.UpstreamInfo{
		Cluster: c.name, Host: h.address, HostName: h.name,
		LocalAddress: network.AddressOf(conn.LocalAddr()), RemoteAddress: network.AddressOf(conn.RemoteAddr()),
		ConnectionID: c.deps.Flows.NextID(), TLS: transport.ConnTLS(conn),
	})
	info.Mark(network.StepConnected)
	counted := c.count(conn, h, info)
	c.spares.fill(h)
	if head != nil && c.http.maxStream > 0 {
		counted.limit = c.limitStream(func(cause error) { counted.Abort(cause) })
	}
	return counted, nil, nil
}

// openRaw takes a connection that was made in advance, or makes one. It holds a
// place in the breaker.
func (c *Cluster) openRaw(ctx context.Context, h *host, info *network.StreamInfo) (network.Conn, error) {
	name := stateServerName(info)
	if name == "" { // a spare connection has the name of the configuration
		defer c.spares.fill(h)
		if conn := c.spares.take(h); conn != nil {
			return conn, nil
		}
	}
	if !c.breaker.connections.acquire() {
		c.n.cxOverflow.Inc()
		return nil, overflow(c.name, "connections")
	}
	var inner *network.StreamInfo
	if h.inProcess() {
		inner = info.InnerAt(c.deps.Flows.NextID(), h.address)
		c.passThrough(h, info, inner)
	}
	conn, err := c.connect(ctx, c.deps.Connector, h, transport.Options{Info: info, ServerName: name}, inner)
	if err != nil {
		c.breaker.connections.release()
	}
	return conn, err
}

// OpenStream opens an HTTP stream on a pooled connection to an endpoint picked
// anew, and sends its head. The caller closes the stream.
func (c *Cluster) OpenStream(ctx context.Context, head *codec.Request, info *network.StreamInfo) (codec.ClientStream, error) {
	h, err := c.pick(ctx, head, info)
	if err != nil {
		return nil, err
	}
	s, pc, reused, err := c.openOn(ctx, h, head, info)
	if err != nil {
		return nil, err
	}
	if c.http.maxStream > 0 {
		timer := c.limitStream(func(cause error) { s.Reset(codec.CodeCancel, cause) })
		context.AfterFunc(s.Context(), func() { timer.Stop() })
	}
	if reused && mayResend(head, pc) {
		s = &againStream{ClientStream: s, retry: func(ctx context.Context) (codec.ClientStream, error) {
			c.n.rqRetry.Inc()
			s, _, _, err := c.openOn(ctx, h, head, info)
			return s, err
		}}
	}
	return s, nil
}

// openOn opens a stream to an endpoint; reused says that its connection has
// carried others.
func (c *Cluster) openOn(ctx context.Context, h *host, head *codec.Request, info *network.StreamInfo) (_ codec.ClientStream, _ *pooled, reused bool, _ error) {
	if !c.breaker.requests.acquire() {
		c.n.rqPendingOverflow.Inc()
		return nil, nil, false, overflow(c.name, "requests")
	}
	key, err := c.httpKeyOf(h, head, info)
	var p *pool
	if err == nil {
		p, err = c.acquirePool(key, h, info)
	}
	if err != nil {
		c.breaker.requests.release()
		return nil, nil, false, err
	}
	defer c.letGo(p)
	// Before the head is sent: its stream may be over, and give these back,
	// before open returns.
	c.n.rqActive.Inc()
	h.n.rqActive.Add(1)
	s, pc, err := p.open(ctx, head)
	if err != nil {
		c.n.rqActive.Dec()
		h.n.rqActive.Add(-1)
		c.breaker.requests.release()
		noteFailure(info, err)
		return nil, nil, false, err
	}
	c.n.rqTotal.Inc()
	h.n.rqTotal.Add(1)
	info.SetUpstream(pc.upstream(s))
	c.predict(h)
	return s, pc, s.ID() > 1, nil
}

// limitStream bounds a stream by max_stream_duration.
func (c *Cluster) limitStream(end func(cause error)) *time.Timer {
	return time.AfterFunc(c.http.maxStream, func() {
		c.n.rqMaxDuration.Inc()
		end(errMaxStream)
	})
}

// pick chooses the endpoint and asks the policy about one that a client chose.
func (c *Cluster) pick(ctx context.Context, head *codec.Request, info *network.StreamInfo) (*host, error) {
	info.Cluster = c.name
	h, err := c.hosts.pick(ctx, head, info)
	switch {
	case errors.Is(err, errPolicy):
		c.n.egressRefused.Inc()
		return nil, err
	case err != nil:
		c.n.cxNoneHealthy.Inc()
		return nil, err
	}
	info.SetUpstream(&network.UpstreamInfo{Cluster: c.name, Host: h.address, HostName: h.name})
	info.Mark(network.StepPicked)
	// Asked here too, since a pooled connection is not dialled again.
	if h.check != nil && h.address.Kind == network.AddressIP {
		if err := h.check(h.address.IP); err != nil {
			c.noteConnectFailure(h, err)
			return nil, &ConnectError{Cluster: c.name, Endpoint: h.address, Err: err}
		}
	}
	return h, nil
}

// noteFailure tells the flow why the transport failed.
func noteFailure(info *network.StreamInfo, err error) {
	var e *ConnectError
	if errors.As(err, &e) {
		info.TransportFailure = e.TransportFailure
	}
}

// newHosts makes the source of endpoints of the cluster's type.
func (c *Cluster) newHosts(m *clusterv3.Cluster, egress *egressPolicy) (hostSource, error) {
	if t := m.GetClusterType(); t != nil {
		return c.newTyped(m, t, egress)
	}
	provides := ""
	if m.GetType() == clusterv3.Cluster_ORIGINAL_DST {
		provides = "ORIGINAL_DST"
	}
	p, err := newPolicy(m, provides)
	if err != nil {
		return nil, err
	}
	if egress != nil && provides == "" {
		return nil, field.Errorf("typed_extension_protocol_options",
			"an egress policy restricts what clients choose; in a cluster of type %s only the configuration chooses", m.GetType())
	}
	if err := checkLbConfig(m); err != nil {
		return nil, err
	}
	switch m.GetType() {
	case clusterv3.Cluster_STATIC:
		return newStatic(m, p, c.n)
	case clusterv3.Cluster_LOGICAL_DNS:
		return newLogicalDNS(m, p, c.n)
	case clusterv3.Cluster_STRICT_DNS:
		return newStrictDNS(m, p, c.names, c.n)
	case clusterv3.Cluster_ORIGINAL_DST:
		return newOriginalDst(m, choice{egress, c.deps.LocalAddresses, c.deps.Admin, c.deps.Bound}, c.n)
	}
	return nil, field.Errorf("type", "cluster type %s is not supported", m.GetType())
}

// checkLbConfig refuses the settings of a policy that is not the cluster's.
func checkLbConfig(m *clusterv3.Cluster) error {
	name, ok := "", true
	switch m.GetLbConfig().(type) {
	case *clusterv3.Cluster_OriginalDstLbConfig_:
		if m.GetType() != clusterv3.Cluster_ORIGINAL_DST {
			return field.Errorf("original_dst_lb_config", "only for clusters of type ORIGINAL_DST")
		}
	case *clusterv3.Cluster_LeastRequestLbConfig_:
		name, ok = "least_request_lb_config", m.GetLbPolicy() == clusterv3.Cluster_LEAST_REQUEST
	case *clusterv3.Cluster_RingHashLbConfig_:
		name, ok = "ring_hash_lb_config", m.GetLbPolicy() == clusterv3.Cluster_RING_HASH
	}
	if !ok || name != "" && m.GetLoadBalancingPolicy() != nil {
		return field.Errorf(name, "the load balancing policy is another")
	}
	return nil
}

// newTyped makes the source of endpoints of an extension.
func (c *Cluster) newTyped(m *clusterv3.Cluster, t *clusterv3.Cluster_CustomClusterType, egress *egressPolicy) (hostSource, error) {
	return newDynamicForward(m, t, choice{egress, c.deps.LocalAddresses, c.deps.Admin, c.deps.Bound}, c)
}

// spawn runs fn until it returns or the cluster ends; not at all once it has
// ended.
func (c *Cluster) spawn(fn func(context.Context)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped {
		c.work.Go(func() { fn(c.life) }) // ends with the cluster; stop waits for it
	}
}

// handlerOf finds who serves an endpoint in this process.
func (c *Cluster) handlerOf(h *host) (network.Handler, bool) {
	if h.handler != nil {
		return h.handler, true
	}
	return c.deps.Lookup(h.address.Name)
}

// internal finds the handler of an endpoint in this process, to pass a flow to.
func (c *Cluster) internal(h *host, info *network.StreamInfo) (network.Handler, error) {
	handler, ok := c.handlerOf(h)
	if !ok {
		return nil, c.noSuchListener(h)
	}
	info.SetUpstream(&network.UpstreamInfo{
		Cluster: c.name, Host: h.address, HostName: h.name,
		LocalAddress: network.InternalClient(), RemoteAddress: h.address,
	})
	c.n.cxTotal.Inc()
	h.n.cxTotal.Add(1)
	return network.HandlerFunc(func(ctx context.Context, f network.Flow) error {
		c.n.cxActive.Inc()
		h.n.cxActive.Add(1)
		defer h.n.cxActive.Add(-1)
		defer c.n.cxDestroy.Inc()
		defer c.n.cxActive.Dec()
		if u, ok := transport.Internal(c.transport); ok {
			u.Passthrough(info, f.Info(), c.message.GetMetadata(), h.metadata)
		}
		return handler.ServeFlow(ctx, f)
	}), nil
}

// passThrough gives the info of a flow on its way into h what the transport lets
// cross.
func (c *Cluster) passThrough(h *host, flow, inner *network.StreamInfo) {
	if u, ok := transport.Internal(c.transport); ok {
		u.Passthrough(flow, inner, c.message.GetMetadata(), h.metadata)
	}
}

// noSuchListener is a connect to an internal listener that is not there: it
// fails as a connection closed at once.
func (c *Cluster) noSuchListener(h *host) error {
	c.n.cxConnectFail.Inc()
	h.n.cxConnectFail.Add(1)
	return &ConnectError{
		Cluster: c.name, Endpoint: h.address,
		Err: network.WithReason(network.ReasonGateway, fmt.Errorf("no internal listener %q", h.address.Name)),
	}
}
