package link

import (
	"errors"
	"fmt"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	// copyLimit is the packet size in bytes up to which a packet is copied out
	// of the 64 KiB view it was read into, so that the view is read into again:
	// the pool clears every view it hands out, which costs more than the copy.
	copyLimit = 8 << 10
	// splitLimit is the packet size in bytes from which the headers get a view
	// of their own. The stack writes to headers while others hold the packet,
	// which copies the whole view they lie in.
	splitLimit = 256
)

// Pump reads packets from the device and delivers them until the device ends
// or is interrupted; only the latter returns nil. One goroutine calls it, once,
// after the endpoint is attached.
func (e *Endpoint) Pump() error {
	frames := make([]Frame, max(e.device.Batch(), 1))
	views := make([]*buffer.View, len(frames))
	defer func() {
		for _, v := range views {
			v.Release()
		}
	}()
	for i := range views {
		views[i] = buffer.NewViewSize(FrameSize)
	}
	for {
		for i := range frames {
			frames[i].Space = views[i].AsSlice()
		}
		n, err := e.device.Read(frames)
		for i := range frames[:n] {
			views[i] = e.receive(&frames[i], views[i])
		}
		switch {
		case errors.Is(err, ErrInterrupted):
			return nil
		case err != nil:
			return fmt.Errorf("read packets: %w", err)
		}
	}
}

// receive checks one packet in v and delivers it. It returns the view to read
// into next: v, or a fresh one if v went with the packet.
func (e *Endpoint) receive(f *Frame, v *buffer.View) *buffer.View {
	b := f.Space[:f.Len]
	e.counters.rxPackets.Add(1)
	e.counters.rxBytes.Add(uint64(f.Len))
	switch f.Header.GSOType &^ gsoECN {
	case GSONone, GSOTCPv4, GSOTCPv6:
	default:
		e.counters.rxUnsupported.Add(1)
		return v
	}
	p, ok := parse(b)
	if !ok {
		e.counters.rxMalformed.Add(1)
		return v
	}
	trusted := f.Header.Flags&(FlagNeedsChecksum|FlagDataValid) != 0
	if !p.headerChecksumOK(b) || !trusted && !p.checksumOK(b) {
		e.counters.rxChecksum.Add(1)
		return v
	}
	d := e.attached()
	if d == nil {
		e.counters.rxNowhere.Add(1)
		return v
	}
	if e.syn != nil && p.isSYN(b) && !e.syn(p.id(b)) {
		return v
	}
	payload, next := split(b, p.headerLen, v)
	deliver(d, p.protocol, payload)
	return next
}

// split turns the packet into views of the stack: see copyLimit and splitLimit.
func split(b []byte, headerLen int, v *buffer.View) (buffer.Buffer, *buffer.View) {
	if len(b) <= splitLimit || headerLen == 0 || headerLen >= len(b) {
		if len(b) <= copyLimit {
			return buffer.MakeWithView(buffer.NewViewWithData(b)), v
		}
		v.CapLength(len(b))
		return buffer.MakeWithView(v), buffer.NewViewSize(FrameSize)
	}
	buf := buffer.MakeWithView(buffer.NewViewWithData(b[:headerLen]))
	if len(b) <= copyLimit {
		_ = buf.Append(buffer.NewViewWithData(b[headerLen:])) // it never fails
		return buf, v
	}
	v.CapLength(len(b))
	v.TrimFront(headerLen)
	_ = buf.Append(v)
	return buf, buffer.NewViewSize(FrameSize)
}

func deliver(d stack.NetworkDispatcher, p tcpip.NetworkProtocolNumber, payload buffer.Buffer) {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: payload})
	d.DeliverNetworkPacket(p, pkt)
	pkt.DecRef()
}

// protocolOf is the network protocol of a packet by its version, 0 if none.
func protocolOf(b []byte) tcpip.NetworkProtocolNumber {
	switch header.IPVersion(b) {
	case header.IPv4Version:
		return header.IPv4ProtocolNumber
	case header.IPv6Version:
		return header.IPv6ProtocolNumber
	}
	return 0
}
