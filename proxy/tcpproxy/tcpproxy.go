package tcpproxy

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"culvert/configs/field"
	"culvert/proxy/accesslog"
	"culvert/proxy/codec"
	"culvert/proxy/network"
	"culvert/proxy/stats"

	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
)

// Upstream opens a flow's far half: a Conn, or for an internal endpoint the
// handler to pass the flow to. One call is one attempt; each picks anew.
type Upstream interface {
	Open(ctx context.Context, info *network.StreamInfo) (network.Conn, network.Handler, error)
}

// Cluster is where flows go: raw, or over its HTTP streams.
type Cluster interface {
	Upstream
	codec.Opener
	// Secure reports that its connections are encrypted.
	Secure() bool
}

// Deps are the collaborators. Clusters, Stats and Flows are required, Tunnel
// where a configuration has tunneling_config, AccessLog where it has access
// logs.
type Deps struct {
	// Clusters finds a cluster by name, asked for each attempt.
	Clusters func(name string) (Cluster, bool)
	// Tunnel makes the upstream that asks for a tunnel, over streams of the
	// first, with the head the second makes (tunnel.NewDialer).
	Tunnel    func(codec.Opener, func(*network.StreamInfo) (*codec.Request, error)) Upstream
	Stats     *stats.Store
	AccessLog *accesslog.Sinks
	// Flows numbers the flows that go on into internal listeners, and shows
	// them.
	Flows *network.FlowTable
	Log   *slog.Logger
	// Complaints bounds what Log is told of clusters that fail; shared, it is
	// one bound for a cluster. nil: one of this filter's own.
	Complaints *network.Seldom
}

// ComplainEvery is how often the log says that a cluster fails.
const ComplainEvery = 10 * time.Second

// Defaults of Envoy's.
const (
	defaultIdle     = time.Hour
	defaultAttempts = 1
)

// halfCloseIdle bounds how long a flow may be silent once one side has ended,
// also where idle_timeout is off: nobody may be left to end the other.
const halfCloseIdle = time.Hour

// TCPProxy is the filter, compiled. It is immutable and safe from any
// goroutine.
type TCPProxy struct {
	deps        Deps
	n           counters
	pick        picker
	tunnel      *tunneling // nil: raw
	mode        connectMode
	hash        *hashPolicy
	proxyTLVs   *proxyTLVs
	attempts    int
	backoff     *backoff // nil: none
	idle        time.Duration
	maxDuration time.Duration
	jitter      float64 // part of maxDuration that is added at random, 0 to 1
	log         *accesslog.Logger
	logOptions  logOptions
	random      func(n int64) int64 // 0 <= random(n) < n
}

// New compiles a TcpProxy message. Errors are field errors.
func New(m *tcpproxyv3.TcpProxy, d Deps) (*TCPProxy, error) {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Complaints == nil {
		d.Complaints = &network.Seldom{Every: ComplainEvery}
	}
	p := &TCPProxy{
		deps: d, n: newCounters(d.Stats, m.GetStatPrefix()),
		attempts: defaultAttempts, idle: defaultIdle,
		maxDuration: m.GetMaxDownstreamConnectionDuration().AsDuration(),
		jitter:      m.GetMaxDownstreamConnectionDurationJitterPercentage().GetValue() / 100,
		random:      rand.Int64N,
	}
	if v := m.GetMaxConnectAttempts(); v != nil {
		p.attempts = int(v.GetValue())
	}
	if v := m.GetIdleTimeout(); v != nil {
		p.idle = v.AsDuration()
	}
	var errs [8]error
	p.pick, errs[0] = newPicker(m)
	p.tunnel, errs[1] = newTunneling(m.GetTunnelingConfig())
	p.backoff, errs[2] = newBackoff(m.GetBackoffOptions())
	p.log, errs[3] = accesslog.New(m.GetAccessLog(), d.AccessLog)
	p.logOptions, errs[4] = newLogOptions(m)
	p.mode, errs[5] = newConnectMode(m)
	p.hash, errs[6] = newHashPolicy(m.GetHashPolicy())
	p.proxyTLVs, errs[7] = newProxyTLVs(m)
	err := field.Join(errs[0], field.At("tunneling_config", errs[1]), field.At("backoff_options", errs[2]),
		field.At("access_log", errs[3]), errs[4], errs[5], field.At("hash_policy", errs[6]), errs[7], p.checkClusters(m))
	if err != nil {
		return nil, err
	}
	return p, nil
}

// checkClusters asks the clusters that are there whether they can carry a
// tunnel. One that is not there yet is met at the first flow, as in Envoy.
func (p *TCPProxy) checkClusters(m *tcpproxyv3.TcpProxy) error {
	if m.GetTunnelingConfig() == nil {
		return nil
	}
	for _, name := range clusterNames(m) {
		c, ok := p.deps.Clusters(name)
		if !ok {
			continue
		}
		if can, ok := c.(interface{ CheckHTTP() error }); ok {
			if err := can.CheckHTTP(); err != nil {
				return field.At("tunneling_config", err)
			}
		}
	}
	return nil
}

// complain tells the operator of a flow that failed on the way and not at its
// destination: the gateway is down, its TLS or its answer is not what it should
// be, or a bound of ours is reached. The application is told no more than that
// the net is unreachable.
func (p *TCPProxy) complain(info *network.StreamInfo, err error) {
	if network.VerdictFor(err) != network.VerdictNetUnreachable {
		return
	}
	if suppressed, ok := p.deps.Complaints.Allow(info.Cluster); ok {
		p.deps.Log.Warn("flows cannot be carried", "cluster", info.Cluster, "reason", network.ReasonFor(err),
			"flow", info.ID, "err", err, "suppressed", suppressed)
	}
}

// open makes one attempt to a cluster picked for it.
func (p *TCPProxy) open(ctx context.Context, info *network.StreamInfo) (network.Conn, network.Handler, error) {
	name := p.pick.cluster(info, p.random)
	info.Cluster = name
	c, ok := p.deps.Clusters(name)
	if !ok {
		p.n.noRoute.Inc()
		return nil, nil, network.WithReason(network.ReasonNoCluster, fmt.Errorf("no cluster %q", name))
	}
	if p.tunnel == nil || stateBool(info, stateDisableTunneling) {
		return c.Open(ctx, info)
	}
	return p.tunnel.open(ctx, c, p.deps, info)
}
