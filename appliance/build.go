package appliance

import (
	"context"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"culvert/appliance/overload"
	"culvert/configs"
	"culvert/configs/field"
	internallisteners "culvert/internal-listeners"
	"culvert/netstack"
	"culvert/proxy/cluster"
	"culvert/proxy/codec"
	"culvert/proxy/hcm"
	"culvert/proxy/httpfilter/router"
	"culvert/proxy/listener"
	"culvert/proxy/network"
	"culvert/proxy/tcpproxy"
	"culvert/proxy/transport"
	"culvert/tunnel"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
)

// build makes a generation of a document: all the wiring, on one screen. It
// opens nothing. The knot (listeners name clusters, clusters name internal
// listeners) is untied by the registry, which is asked for each flow.
func (a *Appliance) build(doc *configs.Document) (*generation, error) {
	g := &generation{doc: doc, built: time.Now(), lost: a.cannotGoOn, pause: a.overload.Listener, secrets: transport.NewSecrets(a.log), logs: a.sinks.Share()}
	life := network.NewLife(context.Background())
	g.life, g.abort = life, life.End
	g.draining, g.beginDrain = context.WithCancel(g.life)
	b := &builder{a: a, g: g}
	res := doc.Bootstrap.GetStaticResources()
	err := field.Join(
		doc.Check(Honoured()),
		b.bootstrapExtensions(doc.Bootstrap.GetBootstrapExtensions()),
		b.overload(doc.Bootstrap.GetOverloadManager()),
		b.admin(doc.Bootstrap.GetAdmin()),
		field.At("static_resources.clusters", b.clusters(res.GetClusters())),
		field.At("static_resources.listeners", b.listeners(res.GetListeners())),
		b.wholeness(),
	)
	if err != nil {
		g.discard(err)
		return nil, err
	}
	return g, nil
}

// builder is one build: what its steps know of each other.
type builder struct {
	a *Appliance
	g *generation

	internalListeners bool               // the bootstrap extension is there
	inbound           bool               // the listener that is being built
	pipeSize          int                // buffer_size_kb of it, in bytes
	bindings          *netstack.Bindings // of all netstacks
}

// overload is what has to give way when memory is short.
func (b *builder) overload(m *overloadv3.OverloadManager) (err error) {
	b.g.overload = overload.DefaultConfig(b.a.opt.MaxHeap)
	if m != nil {
		b.g.overload, err = overload.NewConfig(m)
	}
	return field.At("overload_manager", err)
}

func (b *builder) clusters(list []*clusterv3.Cluster) (err error) {
	b.g.clusters, err = cluster.NewSet(list, cluster.Deps{
		Stats: b.a.stats, Flows: b.a.flows, Resolver: b.a.resolver, Transport: b.transportDeps(),
		Lookup: b.a.registry.Lookup, Log: b.a.log, Control: b.a.markSocket, LocalAddresses: b.a.localAddresses,
		Admin:        func() netip.AddrPort { return b.g.admin.IP },
		StreamWindow: b.a.overload.Buffer, MayGrow: b.a.overload.MayGrow,
		Bound: b.bound, DialInternal: internallisteners.NewDialer(b.g.life, b.pipeSize, b.a.flows, b.g.flows.hold).Dial,
	})
	return err
}

func (b *builder) listeners(list []*listenerv3.Listener) error {
	var errs []error
	for i, m := range list {
		b.inbound = isInbound(m)
		l, err := listener.New(m, listener.Deps{
			NetworkFilter: b.networkFilter, InternalListeners: b.internalListeners, Transport: b.transportDeps(),
			Stats: b.a.stats, Flows: b.a.flows, AccessLog: b.g.logs, Log: b.a.log, Admit: b.a.n.admit,
			Await: b.a.overload.AwaitConnection,
		})
		if err != nil {
			errs = append(errs, field.At(field.Index("", i), err))
			continue
		}
		b.g.listeners = append(b.g.listeners, l)
	}
	return field.Join(errs...)
}

func (b *builder) transportDeps() transport.Deps {
	return transport.Deps{Secrets: b.g.secrets, Tunnel: b.dialThrough, Log: b.a.log}
}

func (b *builder) tcpProxyDeps() tcpproxy.Deps {
	return tcpproxy.Deps{
		Clusters: func(name string) (tcpproxy.Cluster, bool) { return found[tcpproxy.Cluster](b.g.clusters.Get(name)) },
		Tunnel:   dialTunnel,
		Stats:    b.a.stats, AccessLog: b.g.logs, Flows: b.a.flows, Log: b.a.log, Complaints: b.a.complaints,
	}
}

func (b *builder) hcmDeps() hcm.Deps {
	return hcm.Deps{
		Filter: b.httpFilter, HasCluster: b.hasCluster,
		TunnelConn: tunnel.NewConn, ProxyStatus: tunnel.ProxyStatus,
		Stats: b.a.stats, AccessLog: b.g.logs, Flows: b.a.flows, Log: b.a.log,
		Draining: b.g.draining, DrainTimeout: b.a.opt.DrainTime, Ending: b.ending(b.inbound),
		Await: b.a.overload.AwaitRequest, StreamWindow: b.a.overload.Buffer, MayGrow: b.a.overload.MayGrow,
	}
}

func (b *builder) routerDeps() router.Deps {
	return router.Deps{
		Clusters: func(name string) (router.Cluster, bool) { return found[router.Cluster](b.g.clusters.Get(name)) },
		Serve:    tunnel.Serve, Flows: b.a.flows,
	}
}

// found keeps a nil *Cluster from becoming an interface that is not nil.
func found[C any](c *cluster.Cluster, ok bool) (C, bool) {
	if !ok || c == nil {
		var none C
		return none, false
	}
	return any(c).(C), true
}

func (b *builder) hasCluster(name string) bool {
	for _, m := range b.g.doc.Bootstrap.GetStaticResources().GetClusters() {
		if m.GetName() == name {
			return true
		}
	}
	return false
}

// dialTunnel introduces tcp_proxy to the tunnel.
func dialTunnel(o codec.Opener, head func(*network.StreamInfo) (*codec.Request, error)) tcpproxy.Upstream {
	return tunnel.NewDialer(o, head)
}

// dialThrough is a connection that goes through a CONNECT of another cluster.
func (b *builder) dialThrough(ctx context.Context, name, authority string, info *network.StreamInfo) (network.Conn, error) {
	c, ok := b.g.clusters.Get(name)
	if !ok {
		return nil, network.WithReason(network.ReasonNoCluster, fmt.Errorf("tunnel through cluster %q: there is none", name))
	}
	if info == nil { // a pooled connection is for no flow in particular
		info = network.NewStreamInfo(b.a.flows.NextID())
	}
	d := tunnel.NewDialer(c, func(*network.StreamInfo) (*codec.Request, error) {
		return &codec.Request{Method: "CONNECT", Authority: authority}, nil
	})
	conn, _, err := d.Open(ctx, info)
	return conn, err
}

// markSocket keeps culvert's own sockets out of its TUN.
func (a *Appliance) markSocket(_, _ string, c syscall.RawConn) error {
	if a.mark == 0 {
		return nil
	}
	return setMark(c, a.mark)
}

var _ network.Handler = (*listener.Listener)(nil)
