package netstack

import (
	"container/list"
	"sync"
	"time"

	"culvert/proxy/network"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// gate stands before gVisor's forwarder and sees every TCP packet that no
// endpoint claims. It keeps each SYN until its flow is answered and remembers
// the answer.
//
// An entry is keyed by addresses and ports and belongs to one initial sequence
// number (ISN): a SYN with the same ISN is a retransmission and starts nothing,
// one with another is a new connect.
type gate struct {
	stack *Stack           // immutable
	now   func() time.Time // immutable; a test's clock
	limit limits           // immutable

	mu       sync.Mutex
	closed   bool // no new flows
	entries  map[stack.TransportEndpointID]*entry
	flows    int // goroutines that serve
	pending  connects
	bySource map[tcpip.Address]connects // of pending, which have that source address
	backlog  backlog
	silent   *list.List // of *entry, the one touched longest ago first
	told     *list.List // the same
}

// connects are counts of those that are not answered yet.
type connects struct {
	all     int
	opening int // of all, those that a goroutine serves; the others wait
}

// limits are how much there may be of what is counted. Of opening ones a source
// may have the share that perSource is of pending.
type limits struct{ pending, perSource, opening, flows, silent, told int }

type entryState uint8

const (
	stateWaiting   entryState = iota // it has no flow yet
	statePending                     // its flow is being served
	stateAccepting                   // the SYN-ACK is on its way; an endpoint takes over
	stateTold                        // refused; a retransmission is told again
	stateSilent                      // refused in silence; a retransmission is swallowed
)

// entry is one connect. Its fields are guarded by gate.mu, but for the first
// two, which do not change.
type entry struct {
	id  stack.TransportEndpointID
	isn uint32

	state   entryState
	flow    *flow               // from statePending until the verdict
	verdict network.Verdict     // of stateTold
	syn     *stack.PacketBuffer // owned; nil once the flow is answered or gone
	expires time.Time           // of all but statePending and stateAccepting
	place   *list.Element       // in gate.backlog, gate.silent or gate.told
	// handshake gets the endpoint, in stateAccepting.
	handshake *handshake
}

func newGate(s *Stack) *gate {
	return &gate{
		stack: s, now: time.Now,
		limit: limits{
			pending: s.cfg.MaxPendingConnects, perSource: s.cfg.MaxPendingPerSource,
			opening: maxOpening, flows: s.cfg.MaxFlows, silent: maxSilent, told: maxTold,
		},
		entries:  make(map[stack.TransportEndpointID]*entry),
		bySource: make(map[tcpip.Address]connects),
		backlog:  newBacklog(), silent: list.New(), told: list.New(),
	}
}

// handle is gVisor's transport handler. It runs on the goroutine that delivers
// packets and does not block. False lets gVisor answer: with RST.
func (g *gate) handle(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	h := header.TCP(pkt.TransportHeader().Slice())
	if len(h) < header.TCPMinimumSize {
		return true
	}
	const relevant = header.TCPFlagSyn | header.TCPFlagAck | header.TCPFlagRst | header.TCPFlagFin
	switch flags := h.Flags() & relevant; {
	case flags&header.TCPFlagRst != 0:
		if validChecksum(h, pkt) {
			g.reset(id, h.SequenceNumber())
		}
		return true
	case flags != header.TCPFlagSyn:
		return false
	}
	c := &g.stack.counters
	c.synSeen.Add(1)
	if !validChecksum(h, pkt) || !validSource(id) {
		c.synInvalid.Add(1)
		return true
	}
	g.syn(id, h.SequenceNumber(), pkt)
	return true
}

// validChecksum verifies what the link endpoint has not.
func validChecksum(h header.TCP, pkt *stack.PacketBuffer) bool {
	net := pkt.Network()
	_, valid, ok := header.TCPValid(h, func() uint16 { return pkt.Data().Checksum() },
		uint16(pkt.Data().Size()), net.SourceAddress(), net.DestinationAddress(), pkt.RXChecksumValidated)
	return ok && valid
}

// validSource leaves out what could not be answered: no source, or multicast
// and broadcast at either end.
func validSource(id stack.TransportEndpointID) bool {
	for _, a := range [...]tcpip.Address{id.RemoteAddress, id.LocalAddress} {
		if a.Unspecified() || header.IsV4MulticastAddress(a) || header.IsV6MulticastAddress(a) || a == header.IPv4Broadcast {
			return false
		}
	}
	return id.RemotePort != 0 && id.LocalPort != 0
}

// syn decides what a SYN is: a retransmission, a new connect, or one too many.
func (g *gate) syn(id stack.TransportEndpointID, isn uint32, pkt *stack.PacketBuffer) {
	g.mu.Lock()
	if e := g.entries[id]; e != nil && e.isn == isn {
		verdict, again := g.retransmittedLocked(e)
		g.mu.Unlock()
		if again {
			g.stack.counters.replayed.Add(1)
			g.stack.sendVerdict(verdict, pkt)
		}
		return
	}
	superseded, busy := g.supersedeLocked(id)
	if busy {
		g.mu.Unlock()
		g.stack.counters.synBusy.Add(1)
		return
	}
	refused := g.admitLocked(id, isn, pkt)
	g.mu.Unlock()
	if superseded != nil {
		g.stack.counters.canceledSuperseded.Add(1)
		superseded.life.End(errSuperseded)
	}
	if refused != nil {
		g.stack.sendVerdict(network.VerdictFor(refused), pkt)
	}
}

// retransmittedLocked says what to tell a retransmission, if anything.
func (g *gate) retransmittedLocked(e *entry) (network.Verdict, bool) {
	g.stack.counters.synRetransmitted.Add(1)
	switch e.state {
	case stateWaiting:
		e.expires = g.now().Add(waits)
	case stateTold:
		g.touchLocked(e, g.told)
		return e.verdict, true
	case stateSilent:
		g.touchLocked(e, g.silent)
	}
	return 0, false
}

// supersedeLocked makes room for a new connect from the same port. It returns
// the flow of the old one, if that was still pending. Busy: the old one's
// endpoint is about to take the addresses over; the SYN will come again.
func (g *gate) supersedeLocked(id stack.TransportEndpointID) (old *flow, busy bool) {
	e := g.entries[id]
	switch {
	case e == nil:
		return nil, false
	case e.state == stateAccepting:
		return nil, true
	case e.state == statePending:
		old = e.flow
	}
	g.removeLocked(e)
	return old, false
}

// admitLocked makes the entry of a new connect. Without entry or error the SYN is
// dropped.
func (g *gate) admitLocked(id stack.TransportEndpointID, isn uint32, pkt *stack.PacketBuffer) error {
	c := &g.stack.counters
	src := g.bySource[id.RemoteAddress]
	switch {
	case g.closed:
		c.unwanted.Add(1)
		return errDraining
	case g.flows+g.backlog.n >= g.limit.flows:
		c.overLimit.Add(1)
		return errTooManyFlows
	case g.stack.overload.RefusesConnections():
		c.overloaded.Add(1)
		return network.ErrOverload
	case g.pending.all >= g.limit.pending:
		c.synPending.Add(1)
		return nil
	case src.all >= g.limit.perSource:
		c.synSource.Add(1)
		return nil
	}
	e := &entry{id: id, isn: isn, syn: keep(pkt), expires: g.now().Add(waits)}
	g.entries[id] = e
	g.pending.all++
	src.all++
	g.bySource[id.RemoteAddress] = src
	g.backlog.push(e)
	g.openLocked()
	return nil
}

// openLocked serves connects that wait, as many as may be opened at once.
func (g *gate) openLocked() {
	for g.pending.opening < g.limit.opening {
		e := g.backlog.next(g.mayOpenLocked)
		if e == nil {
			return
		}
		if g.now().After(e.expires) {
			g.removeLocked(e)
			continue
		}
		src := g.bySource[e.id.RemoteAddress]
		src.opening++
		g.bySource[e.id.RemoteAddress] = src
		g.pending.opening++
		g.flows++
		e.state, e.flow = statePending, newFlow(g.stack, e)
		g.stack.serving.Add(1) // under mu and before closed is set, so before any Wait
		go e.flow.serve()      // ends with its handler; Stack.serving awaits it
	}
}

// mayOpenLocked leaves others room to open something.
func (g *gate) mayOpenLocked(src tcpip.Address) bool {
	return g.bySource[src].opening*g.limit.pending < g.limit.perSource*g.limit.opening
}

// keep makes a copy of the SYN that holds no more than its headers: payload of
// a SYN (TCP Fast Open) is not acknowledged and will be sent again. Its
// checksum has been verified.
func keep(pkt *stack.PacketBuffer) *stack.PacketBuffer {
	syn := pkt.Clone()
	syn.Data().CapLength(0)
	syn.RXChecksumValidated = true
	return syn
}

// reset cancels a pending connect whose application sent RST. Only the one
// sequence number it can rightly carry counts (RFC 9293 §3.10.7.3); others may
// be forged.
func (g *gate) reset(id stack.TransportEndpointID, seq uint32) {
	g.mu.Lock()
	e := g.entries[id]
	if e == nil || e.state > statePending || seq != e.isn+1 {
		g.mu.Unlock()
		return
	}
	g.removeLocked(e)
	f := e.flow
	g.mu.Unlock()
	g.stack.counters.canceledReset.Add(1)
	if f != nil {
		f.life.End(errApplicationReset)
	}
}

// gone cancels a pending connect whose application is no longer there.
func (g *gate) gone(e *entry) {
	g.mu.Lock()
	if g.entries[e.id] != e || e.state != statePending {
		g.mu.Unlock()
		return
	}
	g.removeLocked(e)
	f := e.flow
	g.mu.Unlock()
	g.stack.counters.canceledGone.Add(1)
	f.life.End(errApplicationGone)
}

// probePending looks for the applications that were once seen connecting.
func (g *gate) probePending() {
	if g.stack.prober == nil {
		return
	}
	var pending []*flow
	g.mu.Lock()
	for _, e := range g.entries {
		if e.state == statePending {
			pending = append(pending, e.flow)
		}
	}
	g.mu.Unlock()
	for _, f := range pending {
		f.probe()
	}
}

// close refuses new connects from now on, and those that wait.
func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	var waiting []*stack.PacketBuffer
	for e := g.backlog.next(anySource); e != nil; e = g.backlog.next(anySource) {
		waiting = append(waiting, e.syn)
		e.syn = nil
		g.removeLocked(e)
	}
	g.mu.Unlock()
	for _, syn := range waiting {
		g.stack.counters.unwanted.Add(1)
		g.stack.sendVerdict(network.VerdictFor(errDraining), syn)
		syn.DecRef()
	}
}

func anySource(tcpip.Address) bool { return true }

// welcome is asked of each SYN before gVisor handles it.
func (s *Stack) welcome(id stack.TransportEndpointID) bool {
	if s.gate.full(id) || s.gate.stopped(id) {
		return false
	}
	s.reusePort(id)
	return true
}

// full reports whether a SYN is one too many, and counts it. The gate would drop
// it later as well; here a flood takes half the processor time, which others need.
func (g *gate) full(id stack.TransportEndpointID) bool {
	g.mu.Lock()
	known := g.entries[id] != nil
	full := g.pending.all >= g.limit.pending && g.flows+g.backlog.n < g.limit.flows && !g.closed && !known
	g.mu.Unlock()
	if full {
		g.stack.counters.synSeen.Add(1)
		g.stack.counters.synPending.Add(1)
	}
	return full
}

// stopped reports whether a SYN is to be dropped since memory is short, and
// counts it: it will be repeated. Where connects are refused as well, to be told
// so is better than to wait.
func (g *gate) stopped(id stack.TransportEndpointID) bool {
	o := g.stack.overload
	if !o.DropsConnections() || o.RefusesConnections() {
		return false
	}
	g.mu.Lock()
	known := g.entries[id] != nil
	g.mu.Unlock()
	if known {
		return false
	}
	g.stack.counters.synSeen.Add(1)
	g.stack.counters.synOverload.Add(1)
	return true
}

// reusePort ends an old connection in TIME_WAIT whose port an application uses
// again (RFC 9293 §3.6.1). gVisor does so for its listeners only; here the SYN
// would be dropped until TIME_WAIT is over.
func (s *Stack) reusePort(id stack.TransportEndpointID) {
	ep, ok := s.stack.FindTransportEndpoint(networkProtocol(id), tcp.ProtocolNumber, id, nicID).(*tcp.Endpoint)
	if ok && ep.EndpointState() == tcp.StateTimeWait {
		ep.Abort()
	}
}

// capture installs the handlers for what no endpoint claims.
func (s *Stack) capture() {
	s.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, s.gate.handle)
	s.captureDatagrams()
}
