package netstack

import (
	"sync/atomic"

	"culvert/netstack/link"
	"culvert/proxy/network"
)

// Stats are counts since the stack was made, and the gauges at the end as they
// are now.
type Stats struct {
	Link link.Stats

	// SynSeen counts every SYN, of it SynRetransmitted those that belonged to a
	// connect known already.
	SynSeen, SynRetransmitted uint64
	// SYNs dropped unanswered: a checksum or header is wrong; too many pending
	// connects in all, or of one source; another SYN of the same addresses and
	// ports is being answered.
	SynDroppedInvalid, SynDroppedPendingLimit, SynDroppedSourceLimit, SynDroppedBusy uint64
	// SynDroppedOverload were dropped, FlowsOverloaded told net unreachable, since
	// memory is short.
	SynDroppedOverload, FlowsOverloaded uint64
	// FlowsOverLimit were told net unreachable because of max_flows,
	// FlowsUnwanted because the stack was closing.
	FlowsOverLimit, FlowsUnwanted uint64

	// What the applications were told, once per connect. Replayed counts the
	// answers given again to a retransmission.
	Accepted, Refused, HostUnreachable, NetUnreachable, Prohibited, Silent, Replayed uint64
	// SilentForgotten: silent verdicts given up for later ones before their time.
	SilentForgotten uint64
	// HandshakesFailed: the SYN-ACK was sent and not acknowledged, or refused.
	HandshakesFailed uint64
	// Why pending connects were cancelled: the application sent RST, its socket
	// is gone, it began anew from the same port.
	CanceledReset, CanceledGone, CanceledSuperseded uint64

	// UDP packets told port unreachable; echo requests answered and not;
	// ICMP answers withheld because of their rate.
	UDPUnreachable, EchoReplies, EchoIgnored, ICMPWithheld uint64

	// TCP segments sent again by the stack, and timers that ran out for it.
	Retransmits, RetransmitTimeouts uint64

	// Gauges.
	Flows, Pending, SilentRemembered, ToldRemembered uint64
}

// counters are Stats while they are counted.
type counters struct {
	synSeen, synRetransmitted                              atomic.Uint64
	synInvalid, synPending, synSource, synBusy             atomic.Uint64
	synOverload, overloaded                                atomic.Uint64
	overLimit, unwanted                                    atomic.Uint64
	accepted, handshakesFailed, replayed, silentForgotten  atomic.Uint64
	verdicts                                               [network.VerdictSilent + 1]atomic.Uint64
	canceledReset, canceledGone, canceledSuperseded        atomic.Uint64
	udpUnreachable, echoReplies, echoIgnored, icmpWithheld atomic.Uint64
}

// Stats is a snapshot.
func (s *Stack) Stats() Stats {
	c := &s.counters
	tcp := s.stack.Stats().TCP
	out := Stats{
		Link:    s.link.Stats(),
		SynSeen: c.synSeen.Load(), SynRetransmitted: c.synRetransmitted.Load(),
		SynDroppedInvalid: c.synInvalid.Load(), SynDroppedPendingLimit: c.synPending.Load(),
		SynDroppedSourceLimit: c.synSource.Load(), SilentForgotten: c.silentForgotten.Load(),
		SynDroppedBusy:     c.synBusy.Load(),
		SynDroppedOverload: c.synOverload.Load(), FlowsOverloaded: c.overloaded.Load(),
		FlowsOverLimit: c.overLimit.Load(), FlowsUnwanted: c.unwanted.Load(),
		Accepted: c.accepted.Load(), HandshakesFailed: c.handshakesFailed.Load(), Replayed: c.replayed.Load(),
		Refused:         c.verdicts[network.VerdictRefused].Load(),
		HostUnreachable: c.verdicts[network.VerdictHostUnreachable].Load(),
		NetUnreachable:  c.verdicts[network.VerdictNetUnreachable].Load(),
		Prohibited:      c.verdicts[network.VerdictProhibited].Load(),
		Silent:          c.verdicts[network.VerdictSilent].Load(),
		CanceledReset:   c.canceledReset.Load(), CanceledGone: c.canceledGone.Load(),
		CanceledSuperseded: c.canceledSuperseded.Load(),
		UDPUnreachable:     c.udpUnreachable.Load(), EchoReplies: c.echoReplies.Load(),
		EchoIgnored: c.echoIgnored.Load(), ICMPWithheld: c.icmpWithheld.Load(),
		Retransmits: tcp.Retransmits.Value(), RetransmitTimeouts: tcp.Timeouts.Value(),
	}
	s.gate.gauges(&out)
	return out
}
