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
	pool   *pool
	conn   httpConn
	opened time.Time

	// what UpstreamInfo says of it
	id            uint64
	local, remote network.Address
	tls           *tls.ConnectionState

	active int64 // places taken, guarded by pool.mu
}

// connectHTTP makes a connection of p's endpoint. It holds a place in the
// breaker, which run gives back.
func (c *Cluster) connectHTTP(ctx context.Context, p *pool) (*pooled, error) {
	if !c.breaker.connections.acquire() {
		c.n.cxOverflow.Inc()
		return nil, overflow(c.name, "connections")
	}
	conn, err := c.connect(ctx, p.host, []string{"h2"}, nil)
	if err == nil {
		err = c.checkALPN(conn, p.host)
	}
	if err != nil {
		c.breaker.connections.release()
		return nil, err
	}
	pc := &pooled{
		pool: p, opened: time.Now(), id: c.deps.Flows.NextID(),
		local: network.AddressOf(conn.LocalAddr()), remote: network.AddressOf(conn.RemoteAddr()),
		tls: transport.ConnTLS(conn),
	}
	cfg := c.http.config
	cfg.ConnectionID, cfg.StreamClosed = pc.id, pc.streamClosed
	pc.conn = c.newConn(conn, cfg)
	c.n.cxActive.Inc()
	c.n.cxHTTP2Total.Inc()
	return pc, nil
}

// checkALPN refuses a peer that chose another protocol. One that chose none may
// still speak HTTP/2: whoever configured it said so.
func (c *Cluster) checkALPN(conn network.Conn, h host) error {
	state := transport.ConnTLS(conn)
	if state == nil || state.NegotiatedProtocol == "" || state.NegotiatedProtocol == "h2" {
		return nil
	}
	err := network.WithReason(network.ReasonGateway,
		fmt.Errorf("peer negotiated %q, want h2", state.NegotiatedProtocol))
	conn.Abort(err)
	c.n.cxConnectFail.Inc()
	c.n.cxProtocolError.Inc()
	return &ConnectError{Cluster: c.name, Endpoint: h.address, TransportFailure: "ALPN mismatch", Err: err}
}

// run serves the connection until it is over: the peer, a drain, its idle
// timer, or the cluster's end. What was lost is in each stream's error.
func (pc *pooled) run() {
	c := pc.pool.c
	err := pc.conn.Run(c.life)
	pc.pool.forget(pc)
	c.breaker.connections.release()
	c.n.cxActive.Dec()
	c.n.cxDestroy.Inc()
	c.n.cxLengthMs.RecordDuration(time.Since(pc.opened))
	c.deps.Log.Debug("upstream connection ended", "cluster", c.name, "conn", pc.id, "endpoint", pc.pool.host.address.String(), "error", err)
}

// release gives back a place no stream took.
func (pc *pooled) release() {
	pc.pool.mu.Lock()
	defer pc.pool.mu.Unlock()
	pc.active--
}

// streamClosed is called once for each stream that was opened, after its Close.
func (pc *pooled) streamClosed() {
	pc.release()
	c := pc.pool.c
	c.n.rqActive.Dec()
	c.breaker.requests.release()
}

// upstream describes a stream of the connection.
func (pc *pooled) upstream(streamID uint64) *network.UpstreamInfo {
	return &network.UpstreamInfo{
		Cluster: pc.pool.c.name, Host: pc.pool.host.address, HostName: pc.pool.host.name,
		LocalAddress: pc.local, RemoteAddress: pc.remote,
		ConnectionID: pc.id, StreamID: streamID, Protocol: codec.HTTP2.String(), TLS: pc.tls,
	}
}
