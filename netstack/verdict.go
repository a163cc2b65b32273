package netstack

import (
	"culvert/proxy/network"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// answer is what can be sent back to a packet.
type answer struct {
	v4 stack.RejectIPv4WithICMPType
	v6 stack.RejectIPv6WithICMPType
}

// answerTo gives a verdict its packet: what Linux makes of it in connect() is,
// in order, ENETUNREACH, ECONNREFUSED, EHOSTUNREACH, and for prohibited
// EHOSTUNREACH with IPv4 (no code gives EACCES there) and EACCES with IPv6.
func answerTo(v network.Verdict) (answer, bool) {
	switch v {
	case network.VerdictNetUnreachable:
		return answer{stack.RejectIPv4WithICMPNetUnreachable, stack.RejectIPv6WithICMPNoRoute}, true
	case network.VerdictRefused:
		return answer{stack.RejectIPv4WithTCPReset, stack.RejectIPv6WithTCPReset}, true
	case network.VerdictHostUnreachable:
		return answer{stack.RejectIPv4WithICMPHostUnreachable, stack.RejectIPv6WithICMPAddrUnreachable}, true
	case network.VerdictProhibited:
		return answer{stack.RejectIPv4WithICMPAdminProhibited, stack.RejectIPv6WithICMPAdminProhibited}, true
	}
	return answer{}, false
}

func portUnreachable() answer {
	return answer{stack.RejectIPv4WithICMPPortUnreachable, stack.RejectIPv6WithICMPPortUnreachable}
}

// sendVerdict answers a SYN, which stays the caller's.
func (s *Stack) sendVerdict(v network.Verdict, syn *stack.PacketBuffer) {
	if a, ok := answerTo(v); ok {
		s.send(a, syn)
	}
}

// send answers pkt from the address it was sent to.
func (s *Stack) send(a answer, pkt *stack.PacketBuffer) {
	// Without the last argument the answer would need an address of the NIC.
	const fromDestination = true
	switch pkt.NetworkProtocolNumber {
	case header.IPv4ProtocolNumber:
		p, _ := s.stack.NetworkProtocolInstance(ipv4.ProtocolNumber).(stack.RejectIPv4WithHandler)
		_ = p.SendRejectionError(pkt, a.v4, fromDestination) // a lost answer is like one lost on the wire
	case header.IPv6ProtocolNumber:
		p, _ := s.stack.NetworkProtocolInstance(ipv6.ProtocolNumber).(stack.RejectIPv6WithHandler)
		_ = p.SendRejectionError(pkt, a.v6, fromDestination)
	}
}
