package netstack

import (
	"container/list"
	"time"

	"culvert/proxy/network"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// This file is the gate's second half: how a pending connect is answered, what
// is remembered of the answer, and when that is forgotten.

// accept takes the SYN out to be answered with SYN-ACK. False: the connect is
// no longer pending.
func (g *gate) accept(e *entry, h *handshake) (*stack.PacketBuffer, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.entries[e.id] != e || e.state != statePending {
		return nil, false
	}
	e.state, e.handshake = stateAccepting, h
	syn := e.syn
	e.syn = nil
	return syn, true
}

// accepted forgets the connect: its endpoint takes the packets from here on, or
// nobody does.
func (g *gate) accepted(e *entry) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.entries[e.id] == e {
		g.removeLocked(e)
	}
}

// reject takes the SYN out to be refused, and remembers the verdict. False: the
// connect is no longer pending.
func (g *gate) reject(e *entry, v network.Verdict) (*stack.PacketBuffer, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.entries[e.id] != e || e.state != statePending {
		return nil, false
	}
	syn := e.syn
	e.syn, e.flow = nil, nil // what is remembered is small
	e.verdict = v
	e.expires = g.now().Add(silenceMemory)
	if v == network.VerdictSilent {
		e.state = stateSilent
		e.place = g.silent.PushBack(e)
		if g.silent.Len() > g.limit.silent {
			g.removeLocked(g.silent.Front().Value.(*entry))
			g.stack.counters.silentForgotten.Add(1)
		}
		return syn, true
	}
	e.state = stateTold
	e.place = g.told.PushBack(e)
	if g.told.Len() > g.limit.told {
		g.removeLocked(g.told.Front().Value.(*entry))
	}
	return syn, true
}

// answered gives back the pending place of a flow, once.
func (g *gate) answered(f *flow) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answeredLocked(f)
}

func (g *gate) answeredLocked(f *flow) {
	if f.placeGiven {
		return
	}
	f.placeGiven = true
	g.leaveLocked(f.entry.id.RemoteAddress, connects{all: 1, opening: 1})
	g.openLocked()
}

// leaveLocked gives back places of a source.
func (g *gate) leaveLocked(src tcpip.Address, n connects) {
	g.pending.all -= n.all
	g.pending.opening -= n.opening
	left := g.bySource[src]
	left.all -= n.all
	left.opening -= n.opening
	g.bySource[src] = left
	if left.all == 0 {
		delete(g.bySource, src)
	}
}

// ended gives back all places of a flow whose goroutine ends.
func (g *gate) ended(f *flow) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answeredLocked(f)
	g.flows--
	if e := f.entry; g.entries[e.id] == e && (e.state == statePending || e.state == stateAccepting) {
		g.removeLocked(e)
	}
}

// touchLocked lets a remembered verdict live on from now.
func (g *gate) touchLocked(e *entry, l *list.List) {
	e.expires = g.now().Add(silenceMemory)
	l.MoveToBack(e.place)
}

func (g *gate) removeLocked(e *entry) {
	delete(g.entries, e.id)
	if e.syn != nil {
		e.syn.DecRef()
		e.syn = nil
	}
	if e.state == stateWaiting {
		g.leaveLocked(e.id.RemoteAddress, connects{all: 1})
		if e.place != nil {
			g.backlog.remove(e)
		}
	}
	if e.place != nil {
		g.told.Remove(e.place) // each list ignores elements of the other
		g.silent.Remove(e.place)
		e.place = nil
	}
}

// sweep forgets the verdicts whose time has passed, and who has waited in vain.
func (g *gate) sweep(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.backlog.stale(now) {
		g.removeLocked(e)
	}
	for _, l := range [...]*list.List{g.told, g.silent} {
		for el := l.Front(); el != nil && now.After(el.Value.(*entry).expires); el = l.Front() {
			g.removeLocked(el.Value.(*entry))
		}
	}
}

// clear forgets everything, after the last flow has ended.
func (g *gate) clear() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.entries {
		g.removeLocked(e)
	}
}

func (g *gate) gauges(s *Stats) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s.Flows, s.Pending = uint64(g.flows), uint64(g.pending.all)
	s.SilentRemembered, s.ToldRemembered = uint64(g.silent.Len()), uint64(g.told.Len())
}
