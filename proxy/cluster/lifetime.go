package cluster

import (
	"context"

	"culvert/proxy/codec"
	"culvert/proxy/network"
	"culvert/proxy/transport"
)

// Run keeps the cluster until ctx ends, then ends its pooled connections and
// waits for them. Raw connections belong to their flows. With a
// preconnect_policy it connects before anybody asks.
func (c *Cluster) Run(ctx context.Context) error {
	c.breaker.publish(c.n.scope)
	defer c.breaker.hide()
	if c.preconnect.on() {
		c.spawn(func(ctx context.Context) { _ = c.Warm(ctx) }) // what fails is tried again with the first flow
	}
	if d, ok := c.hosts.(*dynamicForward); ok && len(d.early) > 0 {
		c.spawn(d.resolveEarly)
	}
	<-ctx.Done()
	c.stop()
	return nil
}

// Drain takes no new streams, lets the open ones finish, and returns when all
// pooled connections are over or ctx ends.
func (c *Cluster) Drain(ctx context.Context) {
	c.beginDrain(errDraining)
	select {
	case <-c.whenEmpty():
	case <-ctx.Done():
	}
}

// Quiesce keeps no connection for later: what is idle ends, and what is not
// ends with its last stream. New streams are served as before. It returns at
// once and is not taken back: a configuration that has been replaced must not be
// held by connections that nobody uses.
func (c *Cluster) Quiesce() {
	c.quiet.Store(true)
	for _, p := range c.allPools() {
		p.endIdle()
	}
}

func (c *Cluster) stop() {
	c.beginDrain(errStopped)
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.end(errStopped)
	for _, p := range c.allPools() {
		p.close(errStopped)
	}
	c.work.Wait()
}

func (c *Cluster) beginDrain(cause error) {
	c.mu.Lock()
	c.draining = true
	c.mu.Unlock()
	c.spares.close()
	for _, p := range c.allPools() {
		p.drain(cause)
	}
}

func (c *Cluster) allPools() []*pool {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*pool
	for _, p := range c.pools {
		all = append(all, p)
	}
	return all
}

// httpKeyOf is the pool that a request belongs to. head is nil for what is
// connected in advance.
func (c *Cluster) httpKeyOf(h *host, head *codec.Request, info *network.StreamInfo) (httpKey, error) {
	key := httpKey{poolKey: h.key(), speaks: c.http.speaks}
	o := transport.Options{Info: info}
	if head != nil {
		key.speaks = c.http.speaksFor(head, info)
		key.sni = c.http.serverName(head)
		o.AbsoluteForm = key.speaks == speaksHTTP1 && !head.AsksTunnel()
	}
	if name := stateServerName(info); name != "" {
		key.sni = name
	}
	if c.alike {
		return key, nil
	}
	c.describe(&o, h)
	var err error
	if key.state, err = transport.PoolKey(c.transport, o); err != nil {
		return key, network.WithReason(network.ReasonGateway, err)
	}
	key.absolute = o.AbsoluteForm && transport.AbsoluteForm(c.transport, o)
	return key, nil
}

// acquirePool finds or makes the pool of a key; letGo gives it back. A pool
// lives as long as somebody opens on it or it has connections.
func (c *Cluster) acquirePool(key httpKey, h *host, info *network.StreamInfo) (*pool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining {
		return nil, errDraining
	}
	p := c.pools[key]
	if p == nil {
		p = &pool{c: c, key: key, host: h}
		if key.state != "" {
			p.info = info.Frozen()
		}
		if h.inProcess() {
			p.inner = info.Frozen()
		}
		c.pools[key] = p
	}
	p.refs++
	return p, nil
}

func (c *Cluster) hold(p *pool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.refs++
}

func (c *Cluster) letGo(p *pool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.refs--
	if p.refs > 0 {
		return
	}
	delete(c.pools, p.key)
	if len(c.pools) == 0 && c.empty != nil {
		close(c.empty)
		c.empty = nil
	}
}

// whenEmpty is closed once there are no pools.
func (c *Cluster) whenEmpty() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pools) == 0 {
		none := make(chan struct{})
		close(none)
		return none
	}
	if c.empty == nil {
		c.empty = make(chan struct{})
	}
	return c.empty
}
