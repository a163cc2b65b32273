package link

import (
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// direct is a queueing discipline without a queue. The stack's own would be the
// same, but makes a list of one for every packet.
type direct struct{ endpoint *Endpoint }

// Direct is the queueing discipline to make the endpoint's NIC with: each
// packet is written by whoever sends it.
func (e *Endpoint) Direct() stack.QueueingDiscipline { return direct{e} }

// WritePacket writes the packet, which stays the caller's.
func (d direct) WritePacket(pkt *stack.PacketBuffer) tcpip.Error {
	out := outgoingPool.Get().(*outgoing)
	d.endpoint.write(out, pkt)
	outgoingPool.Put(out)
	return nil
}

// Close does nothing: nothing is queued.
func (d direct) Close() {}
