// Package link joins a device that moves IP packets with virtio headers to the
// gVisor stack: one link endpoint for every kind of device.
//
// Packets of up to 64 KiB cross it whole in both directions: what the kernel
// handed over as one segment to be split later (TSO) is one packet of the
// stack, and the other way round. Splitting and joining them costs several
// times the CPU of everything else.
//
// A packet on its way in: Device.Read, checked here (see receive), delivered to
// the stack on the goroutine of Pump. On its way out: WritePackets, called by
// the stack on whatever goroutine sends, one Device.Write each.
package link
