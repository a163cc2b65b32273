package netstack

import (
	"golang.org/x/time/rate"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// What is answered to datagrams, in packets a second and at once: far above
// what a program that looks for a way out sends, far below what a flood would.
const (
	icmpRate  = 10000
	icmpBurst = 1000
)

func newICMPLimiter() *rate.Limiter { return rate.NewLimiter(icmpRate, icmpBurst) }

// captureDatagrams installs the handlers for UDP and ICMP.
func (s *Stack) captureDatagrams() {
	s.stack.SetTransportProtocolHandler(udp.ProtocolNumber, s.refuseUDP)
	s.stack.SetTransportProtocolHandler(icmp.ProtocolNumber4, s.echo4)
	s.stack.SetTransportProtocolHandler(icmp.ProtocolNumber6, s.echo6)
}

// refuseUDP answers port unreachable, so that a program falls back to TCP at
// once instead of waiting.
func (s *Stack) refuseUDP(_ stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	if !s.allowICMP() {
		return true
	}
	s.counters.udpUnreachable.Add(1)
	s.send(portUnreachable(), pkt)
	return true
}

func (s *Stack) allowICMP() bool {
	if s.icmpLimit.Allow() {
		return true
	}
	s.counters.icmpWithheld.Add(1)
	return false
}

// echo4 handles echo requests; gVisor has handled the rest. True in every case:
// that keeps gVisor from answering by itself, for every address.
func (s *Stack) echo4(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	h := header.ICMPv4(pkt.TransportHeader().Slice())
	if len(h) < header.ICMPv4MinimumSize || h.Type() != header.ICMPv4Echo || !s.answersEcho(id) {
		return true
	}
	reply := newReply(h, pkt)
	defer reply.DecRef()
	r := header.ICMPv4(reply.TransportHeader().Slice())
	r.SetType(header.ICMPv4EchoReply)
	r.SetChecksum(0)
	r.SetChecksum(^checksum.Checksum(r, reply.Data().Checksum()))
	s.reply(id, pkt.NetworkProtocolNumber, header.ICMPv4ProtocolNumber, reply)
	return true
}

// echo6 is echo4 for IPv6.
func (s *Stack) echo6(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	h := header.ICMPv6(pkt.TransportHeader().Slice())
	if len(h) < header.ICMPv6EchoMinimumSize || h.Type() != header.ICMPv6EchoRequest || !s.answersEcho(id) {
		return true
	}
	reply := newReply(h[:header.ICMPv6EchoMinimumSize], pkt)
	defer reply.DecRef()
	r := header.ICMPv6(reply.TransportHeader().Slice())
	r.SetType(header.ICMPv6EchoReply)
	r.SetChecksum(0)
	r.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{
		Header: r, Src: id.LocalAddress, Dst: id.RemoteAddress,
		PayloadCsum: reply.Data().Checksum(), PayloadLen: reply.Data().Size(),
	}))
	s.reply(id, pkt.NetworkProtocolNumber, header.ICMPv6ProtocolNumber, reply)
	return true
}

// answersEcho reports whether the destination is an address bound inside.
func (s *Stack) answersEcho(id stack.TransportEndpointID) bool {
	to := destination(id).Addr()
	for _, p := range s.cfg.Addresses {
		if p.Contains(to) {
			return s.allowICMP()
		}
	}
	if s.cfg.Bindings.Holds(to) {
		return s.allowICMP()
	}
	s.counters.echoIgnored.Add(1)
	return false
}

// newReply is a packet with a copy of the ICMP header and the same payload.
func newReply(h []byte, pkt *stack.PacketBuffer) *stack.PacketBuffer {
	payload := pkt.Data().ToBuffer()
	extra := pkt.TransportHeader().Slice()[len(h):]
	if len(extra) > 0 {
		_ = payload.Prepend(buffer.NewViewWithData(extra)) // fails only beyond the buffer's bounds
	}
	reply := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: header.IPv6MinimumSize + header.IPv4MaximumHeaderSize + len(h),
		Payload:            payload,
	})
	copy(reply.TransportHeader().Push(len(h)), h)
	return reply
}

// reply sends a packet back to whence a request came, from where it went.
func (s *Stack) reply(id stack.TransportEndpointID, n tcpip.NetworkProtocolNumber, t tcpip.TransportProtocolNumber, pkt *stack.PacketBuffer) {
	r, err := s.stack.FindRoute(nicID, id.LocalAddress, id.RemoteAddress, n, false)
	if err != nil {
		return // the source is nothing one can answer
	}
	defer r.Release()
	pkt.TransportProtocolNumber = t
	s.counters.echoReplies.Add(1)
	_ = r.WritePacket(stack.NetworkHeaderParams{Protocol: t, TTL: r.DefaultTTL()}, pkt) // lost as on the wire
}
