package link

import "sync/atomic"

// Stats are counts since the endpoint was made. A superpacket is one packet.
type Stats struct {
	RxPackets, RxBytes uint64
	TxPackets, TxBytes uint64
	// RxMalformed: not an IP packet, or its lengths contradict each other.
	RxMalformed uint64
	// RxChecksum: a checksum is wrong.
	RxChecksum uint64
	// RxUnsupported: a kind of superpacket the stack cannot take (UDP).
	RxUnsupported uint64
	// RxUnattached: no stack was there to take it.
	RxUnattached uint64
	// TxFull: the device had no room. TxFailed: it refused the packet otherwise,
	// as a TUN whose link is down does.
	TxFull, TxFailed uint64
}

// counters are Stats while they are counted.
type counters struct {
	rxPackets, rxBytes                                atomic.Uint64
	txPackets, txBytes                                atomic.Uint64
	rxMalformed, rxChecksum, rxUnsupported, rxNowhere atomic.Uint64
	txFull, txFailed                                  atomic.Uint64
}

// Stats is a snapshot of the counts.
func (e *Endpoint) Stats() Stats {
	c := &e.counters
	return Stats{
		RxPackets: c.rxPackets.Load(), RxBytes: c.rxBytes.Load(),
		TxPackets: c.txPackets.Load(), TxBytes: c.txBytes.Load(),
		RxMalformed: c.rxMalformed.Load(), RxChecksum: c.rxChecksum.Load(),
		RxUnsupported: c.rxUnsupported.Load(), RxUnattached: c.rxNowhere.Load(),
		TxFull: c.txFull.Load(), TxFailed: c.txFailed.Load(),
	}
}
