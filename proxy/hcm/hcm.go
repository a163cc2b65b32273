package hcm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"culvert/configs/field"
	"culvert/proxy/accesslog"
	"culvert/proxy/codec"
	"culvert/proxy/codec/h1"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"
	"culvert/proxy/route"
	"culvert/proxy/stats"
)

// Deps are the collaborators of a connection manager.
type Deps struct {
	// Filter builds an HTTP filter from its configuration. Errors are relative
	// to the HttpFilter.
	Filter func(*hcmv3.HttpFilter) (codec.Filter, error)
	// HasCluster tells whether a route's cluster is configured; nil checks
	// nothing.
	HasCluster func(name string) bool
	// TunnelConn makes a byte stream of an established HTTP stream
	// (tunnel.NewConn).
	TunnelConn func(codec.Stream) network.Conn
	// ProxyStatus is a Proxy-Status field value (tunnel.ProxyStatus).
	ProxyStatus func(name string, reason network.Reason, details string) string

	Stats     *stats.Store
	AccessLog *accesslog.Sinks
	Flows     *network.FlowTable
	Log       *slog.Logger
	// ServerName is our name where the configuration gives none; empty is
	// DefaultServerName.
	ServerName string
	// Draining ends when connections are to drain: no new exchanges, those that
	// run may finish within DrainTimeout. nil: never.
	Draining context.Context
	// Ending is asked at each response: where it is true the client is told to
	// come back by another connection, and nothing that runs is cut short. nil:
	// never.
	Ending func() bool
	// Await returns when a request may be served, or with network.ErrOverload if it
	// is to be refused. nil: at once.
	Await func(context.Context) error
	// StreamWindow is what a stream of a new HTTP/2 connection may buffer where
	// the configuration does not say, bytes; 0, or nil, is the codec's default.
	StreamWindow func() int
	// MayGrow says whether such a stream may come to buffer more, over a long path
	// (h2.Config). nil: never.
	MayGrow func() bool
	// DrainTimeout is how long exchanges may go on after a drain began; 0 is
	// the codec's default.
	DrainTimeout time.Duration
}

// HCM is an HTTP connection manager, a terminal network filter. It is
// immutable.
type HCM struct {
	deps     Deps
	opt      options
	routes   *route.Table
	chain    chain
	upgrades map[string]*upgrade
	log      *accesslog.Logger
	counts   *counts
	http1    h1.Config
	http2    h2.Config
}

// New compiles m. All problems are reported at once.
func New(m *hcmv3.HttpConnectionManager, d Deps) (*HCM, error) {
	h := &HCM{deps: d}
	if d.Log == nil {
		h.deps.Log = slog.New(slog.DiscardHandler)
	}
	var optErr, routeErr, chainErr, upgradeErr, logErr error
	h.opt, optErr = newOptions(m, d.ServerName)
	rc, ok := m.GetRouteSpecifier().(*hcmv3.HttpConnectionManager_RouteConfig)
	if !ok {
		return nil, field.Join(optErr, field.Errorf("", "route_config is needed: other route specifiers are not supported yet"))
	}
	h.routes, routeErr = route.New(rc.RouteConfig, route.Deps{HasCluster: d.HasCluster})
	h.chain, chainErr = newChain(m.GetHttpFilters(), d.Filter, "http_filters", "http")
	h.upgrades, upgradeErr = newUpgrades(m.GetUpgradeConfigs(), d.Filter)
	h.log, logErr = accesslog.New(m.GetAccessLog(), d.AccessLog)
	if err := field.Join(optErr, field.At("route_config", routeErr), chainErr, upgradeErr, field.At("access_log", logErr)); err != nil {
		return nil, err
	}
	h.counts = newCounts(d.Stats, m.GetStatPrefix())
	h.http1 = http1Config(m, d.DrainTimeout, h.counts.http1)
	h.http2 = http2Config(m, d.DrainTimeout, h.counts.http2)
	h.http1.Ending, h.http2.Ending = d.Ending, d.Ending
	return h, nil
}

// ServeFlow serves one connection. When Deps.Draining ends it drains: it takes
// no new exchanges, and those that run may finish. When ctx ends the connection
// is aborted.
func (h *HCM) ServeFlow(ctx context.Context, f network.Flow) error {
	accepted, err := f.Accept(ctx)
	if err != nil {
		return fmt.Errorf("http connection manager: accept: %w", err)
	}
	info := f.Info()
	info.Kind = network.KindConnection
	info.Publish()
	// A drain is patient, and the end of a drain is what ctx may stand for.
	defer context.AfterFunc(ctx, func() { accepted.Abort(context.Cause(ctx)) })()
	proto, conn, err := h.version(ctx, accepted, info)
	if err != nil {
		h.counts.cxProtocolError.Inc()
		conn.Abort(err)
		return fmt.Errorf("http connection manager: %w", err)
	}
	// One for all exchanges: a tunnel that is idle keeps little of its own.
	life := network.NewLife(context.WithoutCancel(ctx))
	defer life.End(nil)
	defer context.AfterFunc(ctx, func() { life.End(aborted(context.Cause(ctx))) })()
	c := &connection{hcm: h, life: life, info: info, secure: info.TLS != nil, version: h.counts.version(proto)}
	defer h.counts.connection(c.version, c.secure)()
	draining, stop := h.bound(ctx)
	defer stop()
	defer context.AfterFunc(draining, h.counts.cxDrainClose.Inc)()
	return c.ended(h.serve(draining, conn, proto, c))
}

// serve runs the codec of the connection's version to its end.
func (h *HCM) serve(draining context.Context, conn network.Conn, proto codec.Proto, c *connection) error {
	if proto == codec.HTTP2 {
		cfg := h.http2.Buffering(h.deps.StreamWindow, h.deps.MayGrow)
		cfg.ConnectionID, cfg.HeadTimedOut = c.info.ConnectionID, c.headTimedOut
		return h2.ServeConn(draining, conn, cfg, c.serveStream)
	}
	cfg := h.http1
	cfg.ConnectionID, cfg.HeadTimedOut = c.info.ConnectionID, c.headTimedOut
	return h1.ServeConn(draining, conn, cfg, c.serveStream)
}

// bound is a context whose end drains the connection: when ctx or Draining
// ends, or when it has lived as long as it may.
func (h *HCM) bound(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := func() bool { return true }
	if h.deps.Draining != nil {
		stop = context.AfterFunc(h.deps.Draining, cancel)
	}
	if h.opt.maxConnection <= 0 {
		return ctx, func() { stop(); cancel() }
	}
	timer := time.AfterFunc(h.opt.maxConnection, func() {
		h.counts.cxMaxDuration.Inc()
		cancel()
	})
	return ctx, func() { timer.Stop(); stop(); cancel() }
}

// connection is one downstream connection.
type connection struct {
	hcm    *HCM
	life   context.Context // when it ends, so do the connection and its exchanges
	info   *network.StreamInfo
	secure bool
	// version is the counts of the connection's HTTP version.
	version *versionCounts
	// failed: the connection carried one exchange at a time and ended with one
	// that failed, which has said why.
	failed atomic.Bool
}

// serveStream serves one exchange of the connection to its end.
//
// The codec's context does not bound it: that ends with the codec's connection,
// and a relay is told by its stream, behind what came before.
func (c *connection) serveStream(_ context.Context, s codec.ServerStream) {
	newExchange(c, s).serve()
}

// ended counts a connection's end; a peer that hung up is no error, nor is what
// we ended an exchange for.
func (c *connection) ended(err error) error {
	var broken *h2.ConnError
	var message *h1.MessageError
	switch {
	case errors.Is(err, h1.ErrHeadTimeout): // counted as what it is
	case errors.As(err, &broken) && !broken.Remote, errors.As(err, &message) && !errors.As(err, new(*codec.LocalReply)):
		c.hcm.counts.cxProtocolError.Inc()
	case err == nil, network.IsReset(err), c.failed.Load():
		return nil
	}
	return fmt.Errorf("http connection manager: %w", err)
}
