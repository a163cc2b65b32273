package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"culvert/proxy/network"
	"culvert/proxy/transport"
)

// connect makes one connection to an endpoint, transport included, within
// connect_timeout; via makes its socket. inner is the info of a connection to an
// internal endpoint.
func (c *Cluster) connect(ctx context.Context, via Connector, h *host, o transport.Options, inner *network.StreamInfo) (network.Conn, error) {
	began := time.Now()
	within, cancel := context.WithTimeoutCause(ctx, c.connectTimeout, errConnectTimeout)
	defer cancel()
	c.describe(&o, h)
	way, err := transport.WayTo(c.transport, o)
	var targets []network.Address
	if err == nil && way.Open == nil {
		targets, err = c.targets(within, h, way.Proxy)
		if err != nil {
			c.n.cxNoneHealthy.Inc()
			return nil, &NoHostError{Cluster: c.name, Err: err}
		}
	}
	c.n.cxTotal.Inc()
	h.n.cxTotal.Add(1)
	var conn network.Conn
	if err == nil {
		conn, err = c.dial(within, via, h, way, targets, inner)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			<-within.Done() // the socket's timer was ahead of the context's, which knows why
		}
	}
	failure := transportFailure(err)
	if err == nil {
		conn, err = c.transport.Wrap(within, conn, o)
		if err != nil {
			failure = wrapFailure(err)
		}
	}
	if err == nil {
		c.n.cxConnectMs.RecordDuration(time.Since(began))
		return conn, nil
	}
	if within.Err() != nil {
		err = context.Cause(within)
	}
	c.noteConnectFailure(h, err)
	if errors.Is(err, errConnectTimeout) {
		c.n.cxConnectTimeout.Inc()
		failure = ""
	}
	return nil, &ConnectError{Cluster: c.name, Endpoint: h.address, TransportFailure: failure, Err: err}
}

// noteConnectFailure counts a connection that did not come about. One that the
// policy refused is no failure of the endpoint, which was not asked: what alerts
// on failures would be told of whatever a client chooses to type.
func (c *Cluster) noteConnectFailure(h *host, err error) {
	if errors.Is(err, errPolicy) {
		c.n.egressRefused.Inc()
		return
	}
	c.n.cxConnectFail.Inc()
	h.n.cxConnectFail.Add(1)
}

// describe tells the transport which endpoint it is.
func (c *Cluster) describe(o *transport.Options, h *host) {
	o.HostName, o.Endpoint = h.name, h.address
	o.HostMetadata, o.LocalityMetadata = h.metadata, h.around
	if o.ServerName == "" && h.chosen { // whoever chose the name wants it proven
		o.ServerName = h.name
	}
}

// dial makes the connection beneath the transport.
func (c *Cluster) dial(ctx context.Context, via Connector, h *host, way transport.Way, targets []network.Address, inner *network.StreamInfo) (network.Conn, error) {
	switch {
	case way.Open != nil:
		return way.Open(ctx)
	case !way.Proxy.IsZero():
		return dialFirst(ctx, via, targets, nil)
	case !h.inProcess():
		return dialFirst(ctx, via, targets, h.check)
	}
	handler, ok := c.handlerOf(h)
	switch {
	case !ok:
		return nil, network.WithReason(network.ReasonGateway, fmt.Errorf("no internal listener %q", h.address.Name))
	case c.deps.DialInternal == nil:
		return nil, network.WithReason(network.ReasonGateway, errors.New("internal listeners take no connections here"))
	}
	return c.deps.DialInternal(ctx, handler, inner)
}

// targets are the addresses of an endpoint, or of the proxy on the way to it: a
// name is resolved.
func (c *Cluster) targets(ctx context.Context, h *host, proxy network.Address) ([]network.Address, error) {
	at := proxy
	switch {
	case proxy.IsZero() && h.targets != nil:
		return h.targets, nil
	case proxy.IsZero():
		at = h.address
	}
	if at.Kind != network.AddressName {
		return []network.Address{at}, nil
	}
	addrs, err := c.names.lookup(ctx, at.Host())
	if err != nil {
		return nil, err
	}
	return targetsOf(addrs, at.Port()), nil
}

// targetsOf are the addresses of a name in the order they are tried.
func targetsOf(addrs []netip.Addr, port uint16) []network.Address {
	targets := make([]network.Address, len(addrs))
	for i, a := range addrs {
		targets[i] = network.IPAddress(netip.AddrPortFrom(a, port))
	}
	return interleave(targets)
}

// headStart is how long one address of a name is tried alone before the next
// is tried beside it (RFC 8305 §5 has 250 ms, Envoy 300).
const headStart = 300 * time.Millisecond

type dialled struct {
	conn network.Conn
	err  error
}

// dialFirst connects to the addresses of one endpoint, each with a head start on
// the next, and keeps the first that answers. The error is the first one's.
func dialFirst(ctx context.Context, c Connector, targets []network.Address, check Check) (network.Conn, error) {
	if len(targets) == 1 {
		return c.Connect(ctx, targets[0], check)
	}
	ctx, cancel := context.WithCancel(ctx)
	results := make(chan dialled)
	running := 0
	start := func() {
		to := targets[0]
		targets = targets[1:]
		running++
		go connectInto(ctx, c, to, check, results) // ends with ctx; received below
	}
	defer func() { // only then nothing runs and nothing is open
		cancel()
		for ; running > 0; running-- {
			if late := <-results; late.conn != nil {
				late.conn.Abort(context.Canceled)
			}
		}
	}()
	start()
	timer := time.NewTimer(headStart)
	defer timer.Stop()
	var first error
	for running > 0 {
		select {
		case r := <-results:
			running--
			if r.err == nil {
				return r.conn, nil
			}
			if first == nil {
				first = r.err
			}
		case <-timer.C:
		}
		if len(targets) > 0 && ctx.Err() == nil {
			start()
			timer.Reset(headStart)
		}
	}
	return nil, first
}

func connectInto(ctx context.Context, c Connector, to network.Address, check Check, results chan<- dialled) {
	conn, err := c.Connect(ctx, to, check)
	results <- dialled{conn, err}
}

// interleave orders addresses so that families take turns, the first one's
// first (RFC 8305 §4).
func interleave(list []network.Address) []network.Address {
	if len(list) == 0 {
		return nil
	}
	var first, second []network.Address
	for _, a := range list {
		if a.IP.Addr().Is4() == list[0].IP.Addr().Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	out := make([]network.Address, 0, len(list))
	for len(first) > 0 || len(second) > 0 {
		if len(first) > 0 {
			out, first = append(out, first[0]), first[1:]
		}
		if len(second) > 0 {
			out, second = append(out, second[0]), second[1:]
		}
	}
	return out
}
