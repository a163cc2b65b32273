package link_test

import (
	"bytes"
	"testing"

	"culvert/netstack/link"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// drain is a device that takes whatever is written.
type drain struct {
	script
	took int
}

func (d *drain) Write(_ link.Header, views [][]byte) error {
	for _, v := range views {
		d.took += len(v)
	}
	return nil
}

// BenchmarkSend is the way of the stack's packets to the device, the packet
// itself included, since nobody writes one twice.
func BenchmarkSend(b *testing.B) {
	gso := stack.GSO{Type: stack.GSOTCPv4, NeedsCsum: true, L3HdrLen: 20, CsumOffset: 16, MSS: 1448}
	for name, size := range sizes() {
		b.Run(name, func(b *testing.B) {
			d := &drain{}
			e := link.New(d)
			hdr, payload := bytes.Repeat([]byte{1}, 52), make([]byte, size)
			b.SetBytes(int64(len(hdr) + size))
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{ReserveHeaderBytes: len(hdr), Payload: buffer.MakeWithData(payload)})
				copy(pkt.NetworkHeader().Push(len(hdr)), hdr)
				pkt.GSOOptions = gso
				var l stack.PacketBufferList
				l.PushBack(pkt)
				e.WritePackets(l)
				l.Reset() // lets go of it
				n++
			}
			if d.took != n*(len(hdr)+size) {
				b.Errorf("%d bytes of %d packets", d.took, n)
			}
		})
	}
}
