package cluster

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"
	"culvert/proxy/transport"
)

// pooled is one HTTP connection of a pool.
type pooled struct {
	// immutable
	pool  *pool
	conn  httpConn
	proto codec.Proto
	made  time.Time
	path  time.Duration // round trip to the peer; 0: not known

	// what UpstreamInfo says of it
	id            uint64
	local, remote network.Address
	tls           *tls.ConnectionState

	// guarded by pool.mu
	places         int64 // streams at once
	active, opened int64 // places taken now, and in all
	opening        int64 // of the active ones, those whose stream is not open yet
	idleSince      time.Time
	ahead          bool // made so that streams do not share one
}

// connectHTTP makes a connection of p's endpoint.
func (c *Cluster) connectHTTP(ctx context.Context, p *pool, why dialReason) (*pooled, error) {
	conn, err := c.connect(ctx, c.pooling, p.host, transport.Options{
		ServerName: p.key.sni, ALPN: p.key.speaks.alpn(), Info: p.info, AbsoluteForm: p.key.absolute,
	}, p.innerInfo())
	if err != nil {
		return nil, err
	}
	proto, err := c.negotiated(conn, p)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	pc := &pooled{
		pool: p, proto: proto, places: 1, id: c.deps.Flows.NextID(),
		made: now, idleSince: now, path: network.RoundTrip(conn),
		local: network.AddressOf(conn.LocalAddr()), remote: network.AddressOf(conn.RemoteAddr()),
		tls: transport.ConnTLS(conn),
	}
	if proto == codec.HTTP2 {
		pc.places = c.http.maxStreams
		c.n.cxHTTP2Total.Inc()
	} else {
		c.n.cxHTTP1Total.Inc()
	}
	settings := c.http
	settings.h1.AbsoluteForm = settings.h1.AbsoluteForm || p.key.absolute
	settings.h2.MadeAhead = why != dialNeeded
	pc.conn = c.newConn(conn, proto, &settings, pc.id, pc.streamClosed)
	c.n.cxActive.Inc()
	p.host.n.cxActive.Add(1)
	return pc, nil
}

// innerInfo is the info of a new connection to an endpoint in this process; nil
// for others.
func (p *pool) innerInfo() *network.StreamInfo {
	if p.inner == nil {
		return nil
	}
	inner := p.inner.SharedInner(p.c.deps.Flows.NextID(), p.host.address)
	p.c.passThrough(p.host, p.inner, inner)
	return inner
}

// negotiated is what the peer speaks. One that chose a protocol we do not speak
// is refused.
func (c *Cluster) negotiated(conn network.Conn, p *pool) (codec.Proto, error) {
	chosen := ""
	if state := transport.ConnTLS(conn); state != nil {
		chosen = state.NegotiatedProtocol
	}
	proto, ok := p.key.speaks.proto(chosen)
	if ok {
		return proto, nil
	}
	err := network.WithReason(network.ReasonGateway, fmt.Errorf("peer negotiated %q, want %q", chosen, p.key.speaks.alpn()))
	conn.Abort(err)
	c.n.cxConnectFail.Inc()
	p.host.n.cxConnectFail.Add(1)
	c.n.cxProtocolError.Inc()
	return 0, &ConnectError{Cluster: c.name, Endpoint: p.host.address, TransportFailure: "ALPN mismatch", Err: err}
}

// run serves the connection until it is over: the peer, a drain, its timers, or
// the cluster's end. What was lost is in each stream's error.
func (pc *pooled) run() {
	c := pc.pool.c
	if d := c.http.maxConnection; d > 0 {
		timer := time.AfterFunc(d, func() {
			c.n.cxMaxDuration.Inc()
			pc.conn.Drain()
		})
		defer timer.Stop()
	}
	err := pc.conn.Run(c.life)
	pc.pool.mu.Lock()
	lost, opened := pc.active, pc.opened
	pc.pool.mu.Unlock()
	c.breaker.connections.release()
	pc.pool.forget(pc)
	c.n.cxActive.Dec()
	pc.pool.host.n.cxActive.Add(-1)
	c.n.cxDestroy.Inc()
	if lost > 0 {
		c.n.cxDestroyWithRq.Inc()
	}
	c.n.rqPerCx.Record(float64(opened))
	c.n.cxLengthMs.RecordDuration(time.Since(pc.made))
	c.deps.Log.Debug("upstream connection ended", "cluster", c.name, "conn", pc.id, "endpoint", pc.pool.host.address.String(), "error", err)
}

// freeLocked is how many places there are to take: as many as we allow and the
// peer has room for, those given to streams that are not open yet left out.
func (pc *pooled) freeLocked() int64 {
	if pc.doubted() {
		return 0
	}
	if r, ok := pc.conn.(interface{ Room() int }); ok {
		return max(min(pc.places-pc.active, int64(r.Room())-pc.opening), 0)
	}
	if !pc.conn.CanOpen() {
		return 0
	}
	return max(pc.places-pc.active, 0)
}

// takesLocked reports that it has a place for a stream.
func (pc *pooled) takesLocked() bool {
	return pc.freeLocked() > 0 && pc.opened < pc.pool.c.http.maxRequests
}

// takeLocked takes a place that there is.
func (pc *pooled) takeLocked() {
	pc.active++
	pc.opening++
	pc.opened++
	pc.pool.active++
}

// doubted reports that the peer may be gone.
func (pc *pooled) doubted() bool {
	d, ok := pc.conn.(interface{ Doubted() bool })
	return ok && d.Doubted()
}

// tried says what became of a place that was taken: a stream was opened, or
// not, and then the place is given back.
func (pc *pooled) tried(opened bool) {
	if !opened {
		defer pc.release()
	}
	p := pc.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	pc.opening--
	if len(p.line) > 0 {
		p.serveLocked()
	}
}

// release gives back a place; the line moves. A connection that has carried all
// it may ends.
func (pc *pooled) release() {
	p := pc.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	pc.active--
	p.active--
	if pc.active == 0 {
		pc.idleSince = time.Now()
	}
	switch {
	case pc.active > 0:
	case pc.opened >= p.c.http.maxRequests:
		p.c.n.cxMaxRequests.Inc()
		pc.conn.Drain()
	case p.c.quiet.Load():
		pc.conn.Drain()
	}
	p.serveLocked()
}

// streamClosed is called once for each stream that was opened, after its Close.
func (pc *pooled) streamClosed() {
	pc.release()
	c := pc.pool.c
	c.breaker.requests.release()
	// Last: whoever sees the gauges go down finds the place free.
	c.n.rqActive.Dec()
	pc.pool.host.n.rqActive.Add(-1)
}

// upstream describes a stream of the connection.
func (pc *pooled) upstream(s codec.Stream) *network.UpstreamInfo {
	return &network.UpstreamInfo{
		Cluster: pc.pool.c.name, Host: pc.pool.host.address, HostName: pc.pool.host.name,
		LocalAddress: pc.local, RemoteAddress: pc.remote,
		ConnectionID: pc.id, StreamID: s.ID(), Protocol: pc.proto.String(), TLS: pc.tls,
		Wire: codec.Wire(s),
	}
}
