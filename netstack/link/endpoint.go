package link

import (
	"errors"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// Endpoint is a stack.LinkEndpoint over a Device. It does not own the device.
type Endpoint struct {
	device   Device
	syn      func(stack.TransportEndpointID) bool // immutable once attached; may be nil
	mtu      atomic.Uint32
	counters counters

	mu         sync.RWMutex
	dispatcher stack.NetworkDispatcher // guarded by mu; nil while not attached
}

var (
	_ stack.LinkEndpoint = (*Endpoint)(nil)
	_ stack.GSOEndpoint  = (*Endpoint)(nil)
)

// New makes the endpoint of a device. Packets flow once it is attached to a
// stack and Pump runs.
func New(d Device) *Endpoint {
	e := &Endpoint{device: d}
	e.mtu.Store(uint32(d.MTU()))
	return e
}

// OnSYN makes fn see each SYN before the stack does, on the goroutine of Pump, and
// drop it with false. It is called before the endpoint is attached.
func (e *Endpoint) OnSYN(fn func(stack.TransportEndpointID) bool) { e.syn = fn }

// outgoing is the scratch space of one packet on its way out.
type outgoing struct{ views [][]byte }

// outgoingPool holds nothing but spare memory, whichever endpoint it came from.
var outgoingPool = sync.Pool{New: func() any { return &outgoing{views: make([][]byte, 0, 16)} }}

// WritePackets sends the packets one by one, on the caller's goroutine. A
// packet the device cannot take is counted and lost; the transport above
// recovers as from any loss.
func (e *Endpoint) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	out := outgoingPool.Get().(*outgoing)
	for _, pkt := range pkts.AsSlice() {
		e.write(out, pkt)
	}
	outgoingPool.Put(out)
	return pkts.Len(), nil
}

func (e *Endpoint) write(out *outgoing, pkt *stack.PacketBuffer) {
	views, offset := pkt.AsViewList()
	for v := views.Front(); v != nil; v = v.Next() {
		b := v.AsSlice()
		if offset >= len(b) {
			offset -= len(b)
			continue
		}
		out.views = append(out.views, b[offset:])
		offset = 0
	}
	err := e.device.Write(headerOf(pkt), out.views)
	clear(out.views)
	out.views = out.views[:0]
	switch {
	case err == nil:
		e.counters.txPackets.Add(1)
		e.counters.txBytes.Add(uint64(pkt.Size()))
	case errors.Is(err, ErrWouldBlock):
		e.counters.txFull.Add(1)
	default:
		e.counters.txFailed.Add(1)
	}
}

// headerOf describes a packet of the stack. Packets without GSO options
// (SYN-ACK, RST, ICMP, UDP) carry complete checksums.
func headerOf(pkt *stack.PacketBuffer) Header {
	var h Header
	gso := &pkt.GSOOptions
	if gso.Type == stack.GSONone {
		return h
	}
	if gso.NeedsCsum {
		h.Flags = FlagNeedsChecksum
		h.ChecksumStart, h.ChecksumOffset = gso.L3HdrLen, gso.CsumOffset
	}
	if pkt.Data().Size() > int(gso.MSS) {
		h.GSOType = GSOTCPv4
		if gso.Type == stack.GSOTCPv6 {
			h.GSOType = GSOTCPv6
		}
		h.GSOSize, h.HeaderLen = gso.MSS, uint16(pkt.HeaderSize())
	}
	return h
}

// Attach is called by the stack when the NIC is made, and with nil when it is
// removed.
func (e *Endpoint) Attach(d stack.NetworkDispatcher) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dispatcher = d
}

// IsAttached reports whether a stack takes the packets.
func (e *Endpoint) IsAttached() bool { return e.attached() != nil }

func (e *Endpoint) attached() stack.NetworkDispatcher {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.dispatcher
}

// Capabilities says that only the receive side is offloaded. The stack then trusts the
// checksums of what is delivered, so they are verified in receive where the
// kernel has not. Transmit offload is not claimed, although segments with GSO
// options leave with partial checksums: the stack sends SYN-ACK, RST and UDP
// without such options, and they need the sum in software.
func (e *Endpoint) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload
}

// GSOMaxSize is the largest superpacket, bytes.
func (e *Endpoint) GSOMaxSize() uint32 { return FrameSize }

// SupportedGSO says that the device splits superpackets.
func (e *Endpoint) SupportedGSO() stack.SupportedGSO { return stack.HostGSOSupported }

// MTU is the device's.
func (e *Endpoint) MTU() uint32 { return e.mtu.Load() }

// SetMTU changes what the stack thinks of the device, not the device.
func (e *Endpoint) SetMTU(mtu uint32) { e.mtu.Store(mtu) }

// MaxHeaderLength is 0: there is no link header.
func (e *Endpoint) MaxHeaderLength() uint16 { return 0 }

// LinkAddress is empty.
func (e *Endpoint) LinkAddress() tcpip.LinkAddress { return "" }

// SetLinkAddress does nothing.
func (e *Endpoint) SetLinkAddress(tcpip.LinkAddress) {}

// ARPHardwareType is none.
func (e *Endpoint) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }

// AddHeader does nothing.
func (e *Endpoint) AddHeader(*stack.PacketBuffer) {}

// ParseHeader does nothing.
func (e *Endpoint) ParseHeader(*stack.PacketBuffer) bool { return true }

// Wait does nothing: the endpoint has no goroutine of its own.
func (e *Endpoint) Wait() {}

// Close does nothing: the device belongs to whoever opened it.
func (e *Endpoint) Close() {}

// SetOnCloseAction does nothing.
func (e *Endpoint) SetOnCloseAction(func()) {}
