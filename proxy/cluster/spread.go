package cluster

import (
	"slices"
	"time"

	"culvert/proxy/codec"
)

// Over a long path a connection carries what its congestion window allows, and
// all its streams together have that one window, which each loss shrinks and
// each round trip lets grow a little. As many connections have as many windows;
// and bytes that are lost hold up those behind them in one connection only. Over
// a short path one connection carries everything, for the least processor time.
const (
	// longPath is the round trip from which on streams are spread. Below it a loss
	// is made good within a few milliseconds, and a window of a hundred packets is
	// 240 Mbit/s; machines of one site are less than a millisecond apart, and what
	// is further than the same region is more than five away.
	longPath = 5 * time.Millisecond
	// spreadConns is over how many connections streams are spread; what more of
	// them would gain is little, and they cost the peer memory and handshakes.
	spreadConns = 8
	// spreadAhead is how many connections there are for each stream, so that the
	// next ones find theirs made.
	spreadAhead = 2
	// patienceTrips is how many round trips those wait who come before connections
	// are made for them: TCP and TLS are two or three. maxPatience bounds that.
	patienceTrips = 4
	maxPatience   = time.Second
	// spareIdle is how long a connection made ahead may carry nothing; it is looked
	// at as seldom, so that it ends within twice that.
	spareIdle = 30 * time.Second
	// growPause is how long none is made ahead after one that failed or did not
	// live that long: a peer that does not want them is not pestered.
	growPause = 10 * time.Second
)

// spread is what a pool knows about spreading its streams over connections. The
// zero value keeps them together. Guarded by pool.mu.
type spread struct {
	path     time.Duration // round trip to the peer; 0: not known, or not HTTP/2
	pause    time.Time     // no connections are made ahead before
	patience *time.Timer   // runs while somebody waits for a connection of their own
	trimming *time.Timer   // runs while there are connections made ahead
}

func (s *spread) long() bool { return s.path >= longPath }

// chooseLocked is the connection that a new stream goes to: the oldest that has
// room; over a long path, the one that carries the fewest. Nil if none has room.
func (p *pool) chooseLocked() *pooled {
	var best *pooled
	for _, pc := range p.conns {
		if !pc.takesLocked() {
			continue
		}
		if !p.spread.long() {
			return pc
		}
		if best == nil || pc.active < best.active {
			best = pc
		}
	}
	return best
}

// holdLocked reports that a stream had better not share pc, the best there is,
// but wait: a connection that it may have for its own is being made. It does not
// have to wait long: its patience runs from now on.
func (p *pool) holdLocked(pc *pooled) bool {
	if !p.spread.long() || pc.active == 0 || len(p.dials) == 0 || p.aliveLocked() >= spreadConns {
		return false
	}
	if p.spread.patience == nil {
		p.spread.patience = time.AfterFunc(min(patienceTrips*p.spread.path, maxPatience), p.runOut)
	}
	return true
}

// calmLocked ends the wait of those who were served: who comes next waits anew.
func (p *pool) calmLocked() {
	if p.spread.patience != nil && len(p.line) == 0 {
		p.spread.patience.Stop()
		p.spread.patience = nil
	}
}

// runOut is the end of everybody's patience.
func (p *pool) runOut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spread.patience = nil
	p.shareLocked()
	p.serveLocked()
}

// shareLocked lets those who wait share what is there.
func (p *pool) shareLocked() {
	for _, w := range p.line {
		w.shares = true
	}
}

// aliveLocked is how many connections take streams, or would if they were not
// full.
func (p *pool) aliveLocked() int {
	n, full := 0, p.expectedLocked()
	for _, pc := range p.conns {
		if pc.takesLocked() || pc.active >= full {
			n++
		}
	}
	return n
}

// wantedLocked is how many connections there are to be for the streams there are
// and so many that come.
func (p *pool) wantedLocked(coming int) int {
	return min(spreadConns, spreadAhead*(int(p.active)+len(p.line)+coming))
}

// growLocked begins connections ahead of demand, over a long path. They are at
// most spreadConns in all, and take no place in the breaker that there is not.
func (p *pool) growLocked(coming int) {
	if !p.spread.long() || p.drained || p.c.quiet.Load() || time.Now().Before(p.spread.pause) {
		return
	}
	for n := p.aliveLocked() + len(p.dials); n < p.wantedLocked(coming); n++ {
		if !p.c.breaker.connections.acquire() {
			return
		}
		p.beginDialLocked(dialAhead)
	}
}

// learnPathLocked notes how far away the peer of a new connection is. The first
// one says that there is a peer who may take more.
func (p *pool) learnPathLocked(pc *pooled, why dialReason) {
	was := p.spread.long()
	p.spread.path = 0
	if pc.proto == codec.HTTP2 {
		p.spread.path = pc.path
	}
	if len(p.conns) == 1 {
		p.spread.pause = time.Time{}
	}
	if p.spread.long() && !was {
		p.c.deps.Log.Info("the path is long: streams are spread over several connections",
			"cluster", p.c.name, "endpoint", p.host.address.String(), "round_trip", pc.path)
	}
	if why == dialAhead {
		pc.ahead = true
		p.c.n.cxSpread.Inc()
		p.trimLaterLocked()
	}
}

// failedLocked tells those for whom a connection was made that there is none. But
// nobody fails while they may share one, or others are made ahead for them.
func (p *pool) failedLocked(d *poolDial, err error) {
	if d.why == dialAhead {
		p.spread.pause = time.Now().Add(growPause)
	}
	switch {
	case p.chooseLocked() != nil:
		p.shareLocked()
	case d.why == dialAhead && len(p.dials) > 0:
	default:
		p.failLocked(d.places, err)
	}
}

// endedLocked notes a connection that did not live long.
func (p *pool) endedLocked(pc *pooled) {
	if p.spread.long() && time.Since(pc.made) < growPause {
		p.spread.pause = time.Now().Add(growPause)
	}
}

func (p *pool) trimLaterLocked() {
	if p.spread.trimming == nil {
		p.spread.trimming = time.AfterFunc(spareIdle, p.trim)
	}
}

// trim ends connections that were made ahead and have not been needed for a
// while, the youngest first.
func (p *pool) trim() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spread.trimming = nil
	spare := p.aliveLocked() - max(p.wantedLocked(0), 1)
	left := false
	for _, pc := range slices.Backward(p.conns) {
		switch {
		case !pc.ahead:
		case spare > 0 && pc.active == 0 && time.Since(pc.idleSince) >= spareIdle:
			pc.conn.Drain()
			spare--
		default:
			left = true
		}
	}
	if left {
		p.trimLaterLocked()
	}
}
