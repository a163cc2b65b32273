package cluster

import (
	"context"
)

// Run keeps the cluster until ctx ends, then ends its pooled connections and
// waits for them. Raw connections belong to their flows.
func (c *Cluster) Run(ctx context.Context) error {
	c.breaker.publish(c.n.scope)
	defer c.breaker.hide()
	<-ctx.Done()
	c.stop()
	return nil
}

// Drain takes no new streams, lets the open ones finish, and returns when all
// pooled connections are over or ctx ends.
func (c *Cluster) Drain(ctx context.Context) {
	c.beginDrain()
	select {
	case <-c.whenEmpty():
	case <-ctx.Done():
	}
}

func (c *Cluster) stop() {
	c.beginDrain()
	c.end(errStopped)
	for _, p := range c.allPools() {
		p.close(errStopped)
	}
	c.work.Wait()
}

func (c *Cluster) beginDrain() {
	c.mu.Lock()
	c.draining = true
	c.mu.Unlock()
	for _, p := range c.allPools() {
		p.drain()
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

// acquirePool finds or makes the pool of an endpoint; letGo gives it back. A
// pool lives as long as somebody opens on it or it has connections.
func (c *Cluster) acquirePool(h host) (*pool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining {
		return nil, errDraining
	}
	key := poolKey{h.address, h.name}
	p := c.pools[key]
	if p == nil {
		p = &pool{c: c, host: h}
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
	delete(c.pools, poolKey{p.host.address, p.host.name})
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
