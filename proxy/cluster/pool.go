package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// unprocessedTries is how often one OpenStream may meet a connection that did
// not take its request: it drains, it is full, it has just died. Each time
// another connection is used; more than a few times something is wrong.
const unprocessedTries = 4

// pool is the HTTP connections to one endpoint: as many as are needed for the
// streams that are open, made one at a time.
type pool struct {
	c    *Cluster
	host host

	refs int // guarded by Cluster.mu: openers, dials and connections

	mu      sync.Mutex
	conns   []*pooled
	dialing *sharedDial
	drained bool // takes no new streams
}

// sharedDial is a dial in progress that several openers wait for. It goes on
// while one of them does.
type sharedDial struct {
	done   chan struct{}
	err    error // once done is closed
	cancel context.CancelCauseFunc

	waiters int // guarded by pool.mu
}

// errNobodyWaits ends a dial whose openers have all gone away.
var errNobodyWaits = network.WithReason(network.ReasonCanceled, errors.New("nobody waits for the connection"))

// errDraining refuses streams of a cluster that is going away.
var errDraining = network.WithReason(network.ReasonGateway, errors.New("cluster is draining"))

// open sends the head on a connection that has room, or on a new one.
func (p *pool) open(ctx context.Context, head *codec.Request, info *network.StreamInfo) (codec.ClientStream, *pooled, error) {
	var last error
	for range unprocessedTries {
		pc, err := p.ready(ctx)
		if err != nil {
			return nil, nil, err
		}
		s, err := pc.conn.OpenStream(ctx, head)
		if err == nil {
			return s, pc, nil
		}
		pc.release()
		last = err
		if ctx.Err() != nil || !errors.Is(err, codec.ErrNotProcessed) {
			break
		}
	}
	return nil, nil, fmt.Errorf("cluster %q endpoint %s: %w", p.c.name, p.host.address, last)
}

// ready finds a connection with room, a place on it taken, and makes one if
// there is none.
func (p *pool) ready(ctx context.Context) (*pooled, error) {
	for {
		p.mu.Lock()
		if p.drained {
			p.mu.Unlock()
			return nil, errDraining
		}
		if pc := p.takeLocked(); pc != nil {
			p.mu.Unlock()
			return pc, nil
		}
		d := p.dialLocked()
		p.mu.Unlock()
		if err := p.await(ctx, d); err != nil {
			return nil, err
		}
	}
}

// takeLocked takes a place on the oldest connection that has one.
func (p *pool) takeLocked() *pooled {
	for _, pc := range p.conns {
		if pc.active < p.c.http.maxStreams && pc.conn.CanOpen() {
			pc.active++
			return pc
		}
	}
	return nil
}

// dialLocked joins the dial in progress, or starts one.
func (p *pool) dialLocked() *sharedDial {
	d := p.dialing
	if d == nil {
		ctx, cancel := context.WithCancelCause(p.c.life)
		d = &sharedDial{done: make(chan struct{}), cancel: cancel}
		p.dialing = d
		p.c.hold(p)                            // given back by dial, or by the end of what it made
		p.c.work.Go(func() { p.dial(ctx, d) }) // ends with the dial; Run waits for it
	}
	d.waiters++
	return d
}

func (p *pool) dial(ctx context.Context, d *sharedDial) {
	defer d.cancel(nil)
	pc, err := p.c.connectHTTP(ctx, p)
	defer close(d.done)
	p.mu.Lock()
	if p.dialing == d {
		p.dialing = nil
	}
	d.err = err
	if err == nil {
		p.conns = append(p.conns, pc)
		p.c.work.Go(pc.run) // ends with the connection; Run waits for it
		if p.drained {
			pc.conn.Drain()
		}
	}
	p.mu.Unlock()
	if err != nil {
		p.c.letGo(p)
	}
}

// await waits for a dial, as long as ctx lets it and the breaker has room for
// those who wait.
func (p *pool) await(ctx context.Context, d *sharedDial) error {
	n, pending := p.c.n, &p.c.breaker.pending
	defer p.leave(d)
	if !pending.acquire() {
		n.rqPendingOverflow.Inc()
		return overflow(p.c.name, "pending requests")
	}
	defer pending.release()
	n.rqPendingTotal.Inc()
	n.rqPendingActive.Inc()
	defer n.rqPendingActive.Dec()
	select {
	case <-d.done:
		if d.err != nil {
			n.rqPendingFailure.Inc()
		}
		return d.err
	case <-ctx.Done():
		n.rqCancelled.Inc()
		return context.Cause(ctx)
	}
}

// leave is the last thing a waiter does; the last of them ends the dial.
func (p *pool) leave(d *sharedDial) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d.waiters--
	if d.waiters == 0 && p.dialing == d {
		p.dialing = nil // nobody joins what is being given up
		d.cancel(errNobodyWaits)
	}
}

// forget drops a connection that is over.
func (p *pool) forget(pc *pooled) {
	p.mu.Lock()
	p.conns = slices.DeleteFunc(p.conns, func(x *pooled) bool { return x == pc })
	p.mu.Unlock()
	p.c.letGo(p)
}

// drain lets the connections finish and makes no more.
func (p *pool) drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drained = true
	for _, pc := range p.conns {
		pc.conn.Drain()
	}
}

// close ends the connections now.
func (p *pool) close(cause error) {
	p.mu.Lock()
	conns := slices.Clone(p.conns)
	p.mu.Unlock()
	for _, pc := range conns {
		pc.conn.Close(cause)
	}
}
