package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"
)

// unprocessedTries is how often one OpenStream may meet a connection that did
// not take its request: it drains, it is full, it has just died. Each time
// another connection is used; more than a few times something is wrong.
const unprocessedTries = 4

// httpKey tells apart the pools of connections that must not be shared.
type httpKey struct {
	poolKey
	speaks   speech
	sni      string
	state    string // what of its flows a connection carries with it
	absolute bool   // requests have the absolute form
}

// pool is the HTTP connections to one endpoint: as many as are needed for the
// streams that are open. Whoever finds no room waits in line; connections are
// made for those who wait, and the line moves when one is there, or has room
// again.
type pool struct {
	// immutable
	c     *Cluster
	key   httpKey
	host  *host
	info  *network.StreamInfo // a flow of those whose state connections carry; else nil
	inner *network.StreamInfo // of connections to an internal endpoint; else nil

	refs int // guarded by Cluster.mu: openers, dials and connections

	mu      sync.Mutex
	conns   []*pooled
	dials   []*poolDial
	line    []*waiter   // who waits, first come first served
	active  int64       // places taken
	spoke   codec.Proto // the last connection; 0: none yet
	fits    int64       // streams at once, as a peer has let us know; 0: it has not
	drained bool        // takes no new streams
	spread  spread
}

// waiter is somebody who waits for a place.
type waiter struct {
	done   chan struct{} // closed when pc or err is set
	pc     *pooled
	err    error
	shares bool // does not wait for a connection of their own any more; guarded by pool.mu
}

// poolDial is a connection in the making.
type poolDial struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	places int64 // that it is expected to have
	why    dialReason
	done   chan struct{}
	err    error // once done is closed
}

// dialReason is why a connection is made.
type dialReason uint8

const (
	dialNeeded dialReason = iota // by those who wait: given up when nobody does
	dialWarm                     // for its own sake
	dialAhead                    // so that streams do not share one
)

// errNobodyWaits ends a dial that nobody needs any longer.
var errNobodyWaits = network.WithReason(network.ReasonCanceled, errors.New("nobody waits for the connection"))

// errDraining refuses streams of a cluster that is going away.
var errDraining = network.WithReason(network.ReasonGateway, errors.New("cluster is draining"))

// open sends the head on a connection that has room, or on a new one.
func (p *pool) open(ctx context.Context, head *codec.Request) (codec.ClientStream, *pooled, error) {
	var last error
	for tries := 0; tries < unprocessedTries; {
		pc, err := p.place(ctx)
		if err != nil {
			return nil, nil, err
		}
		s, err := pc.conn.OpenStream(ctx, head)
		pc.tried(err == nil)
		if err == nil {
			return s, pc, nil
		}
		last = err
		if ctx.Err() != nil || !errors.Is(err, codec.ErrNotProcessed) {
			break
		}
		if !errors.Is(err, h2.ErrNoCapacity) { // else somebody was faster
			tries++
		}
	}
	return nil, nil, fmt.Errorf("cluster %q endpoint %s: %w", p.c.name, p.host.address, last)
}

// place takes a place on a connection, and waits for one if there is none.
func (p *pool) place(ctx context.Context) (*pooled, error) {
	p.mu.Lock()
	if p.drained {
		p.mu.Unlock()
		return nil, errDraining
	}
	p.growLocked(1)
	n, pending := p.c.n, &p.c.breaker.pending
	pc := p.chooseLocked()
	switch waits := pc == nil || p.holdLocked(pc); {
	case waits && pending.acquire():
		defer pending.release()
	case pc == nil:
		p.mu.Unlock()
		n.rqPendingOverflow.Inc()
		return nil, overflow(p.c.name, "pending requests")
	default:
		pc.takeLocked()
		p.dialMoreLocked(false)
		p.mu.Unlock()
		return pc, nil
	}
	w := &waiter{done: make(chan struct{})}
	p.line = append(p.line, w)
	p.dialMoreLocked(true)
	p.mu.Unlock()
	n.rqPendingTotal.Inc()
	n.rqPendingActive.Inc()
	defer n.rqPendingActive.Dec()
	select {
	case <-w.done:
		if w.err != nil {
			n.rqPendingFailure.Inc()
		}
		return w.pc, w.err
	case <-ctx.Done():
		n.rqCancelled.Inc()
		p.leave(w)
		return nil, context.Cause(ctx)
	}
}

// serveLocked gives places to those who wait.
func (p *pool) serveLocked() {
	p.growLocked(0)
	for len(p.line) > 0 {
		w, pc := p.line[0], p.chooseLocked()
		if pc == nil {
			p.learnLocked()
			break
		}
		if !w.shares && p.holdLocked(pc) {
			break
		}
		pc.takeLocked()
		p.line = p.line[1:]
		w.pc = pc
		close(w.done)
	}
	p.calmLocked()
	p.dialMoreLocked(false)
}

// learnLocked notes how many streams a peer has room for, once they do not
// suffice: so many may be expected of the next connection.
func (p *pool) learnLocked() {
	for _, pc := range p.conns {
		if !pc.doubted() { // else it has room, perhaps, and is spared
			p.fits = max(p.fits, pc.active)
		}
	}
}

// maxDialsAtOnce bounds how many connections one event may begin, as in Envoy.
const maxDialsAtOnce = 3

// dialMoreLocked begins as many connections as those who wait need, and, with a
// preconnect ratio above 1, some more. asked says that somebody has just come,
// who is to be counted if a limit is reached.
func (p *pool) dialMoreLocked(asked bool) {
	if p.drained {
		return
	}
	for range maxDialsAtOnce {
		if !p.shortLocked() {
			return
		}
		if !p.c.breaker.connections.acquire() {
			if asked {
				p.c.n.cxOverflow.Inc()
			}
			if len(p.conns)+len(p.dials) > 0 || len(p.line) == 0 {
				return // the line moves when one of ours has room
			}
			p.c.breaker.connections.force() // or nobody would ever be served
		}
		p.beginDialLocked(dialNeeded)
	}
}

// shortLocked reports that there are too few places, with those that are being
// made, for those who wait and the ratio.
func (p *pool) shortLocked() bool {
	making := int64(0)
	for _, d := range p.dials {
		making += d.places
	}
	waiting := int64(len(p.line))
	ratio := p.c.preconnect.perUpstream
	if ratio <= 1 {
		return waiting > making
	}
	free := int64(0)
	for _, pc := range p.conns {
		free += pc.freeLocked()
	}
	return math.Ceil(float64(waiting+p.active)*ratio) > float64(making+p.active+free)
}

// beginDialLocked starts a connection; its place in the breaker is taken.
func (p *pool) beginDialLocked(why dialReason) *poolDial {
	d := &poolDial{places: p.expectedLocked(), why: why, done: make(chan struct{})}
	d.ctx, d.cancel = context.WithCancelCause(p.c.life)
	p.dials = append(p.dials, d)
	p.c.hold(p)                       // given back by dial, or by the end of what it made
	p.c.work.Go(func() { p.dial(d) }) // ends with the dial; Run waits for it
	return d
}

// expectedLocked is how many places a new connection will have.
func (p *pool) expectedLocked() int64 {
	if p.key.speaks == speaksHTTP1 || p.spoke == codec.HTTP11 {
		return 1
	}
	if p.fits > 0 {
		return min(p.fits, p.c.http.maxStreams)
	}
	return p.c.http.maxStreams
}

func (p *pool) dial(d *poolDial) {
	defer d.cancel(nil)
	pc, err := p.c.connectHTTP(d.ctx, p, d.why)
	p.mu.Lock()
	wanted := slices.Contains(p.dials, d)
	p.dials = slices.DeleteFunc(p.dials, func(x *poolDial) bool { return x == d })
	if err == nil {
		p.spoke = pc.proto
		p.conns = append(p.conns, pc)
		p.learnPathLocked(pc, d.why)
		p.c.work.Go(pc.run) // ends with the connection; Run waits for it
		if p.drained {
			pc.conn.Drain()
		}
	} else {
		p.c.breaker.connections.release()
		if wanted { // else it was given up, and those who wait count on others
			p.failedLocked(d, err)
		}
	}
	p.serveLocked()
	if err == nil && pc.active == 0 && p.c.quiet.Load() {
		pc.conn.Drain() // it would be kept for nobody
	}
	d.err = err
	close(d.done)
	p.mu.Unlock()
	if err != nil {
		p.c.letGo(p)
	}
}

// failLocked tells those for whom a connection was made that there is none.
func (p *pool) failLocked(places int64, err error) {
	n := min(int(places), len(p.line))
	for _, w := range p.line[:n] {
		w.err = err
		close(w.done)
	}
	p.line = p.line[n:]
}

// leave is the last thing of somebody who waits no longer. What is being made
// for nobody is given up.
func (p *pool) leave(w *waiter) {
	p.mu.Lock()
	select {
	case <-w.done:
		p.mu.Unlock()
		if w.pc != nil {
			w.pc.tried(false) // it came too late
		}
		return
	default:
	}
	defer p.mu.Unlock()
	p.line = slices.DeleteFunc(p.line, func(x *waiter) bool { return x == w })
	for i := len(p.dials) - 1; i >= 0; i-- {
		d := p.dials[i]
		if d.why != dialNeeded {
			continue
		}
		p.dials = slices.Delete(p.dials, i, i+1) // nobody counts on what is being given up
		if p.shortLocked() {
			p.dials = slices.Insert(p.dials, i, d)
			return
		}
		d.cancel(errNobodyWaits)
	}
}

// warm makes a connection if there is none, and waits until it is there.
func (p *pool) warm(ctx context.Context) error {
	p.mu.Lock()
	var d *poolDial
	switch {
	case p.drained, len(p.conns) > 0:
	case len(p.dials) > 0:
		d = p.dials[0]
	case p.c.breaker.connections.acquire():
		d = p.beginDialLocked(dialWarm)
	}
	p.mu.Unlock()
	if d == nil {
		return nil
	}
	select {
	case <-d.done:
		return d.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// forget drops a connection that is over.
func (p *pool) forget(pc *pooled) {
	p.mu.Lock()
	p.conns = slices.DeleteFunc(p.conns, func(x *pooled) bool { return x == pc })
	p.endedLocked(pc)
	p.serveLocked()
	p.mu.Unlock()
	p.c.letGo(p)
}

// drain lets the connections finish and makes no more. Who waits for one is a
// new stream, and refused.
func (p *pool) drain(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drained = true
	p.failLocked(math.MaxInt32, cause)
	for _, d := range p.dials {
		d.cancel(cause)
	}
	for _, pc := range p.conns {
		pc.conn.Drain()
	}
}

// endIdle ends the connections that carry nothing.
func (p *pool) endIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pc := range p.conns {
		if pc.active == 0 {
			pc.conn.Drain()
		}
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
