// Package impair joins two network namespaces with a link that is as bad as one
// asks for: it delays, loses, reorders, repeats and corrupts packets, and carries
// so many bytes a second.
//
//	wire, err := impair.Connect(
//		impair.End{Namespace: a, Interface: "toB", Addresses: []netip.Prefix{...}},
//		impair.End{Namespace: b, Interface: "toA", Addresses: []netip.Prefix{...}},
//		impair.Link{Delay: 20 * time.Millisecond, Loss: 0.01, Seed: 1})
//	defer wire.Close()
//	wire.Set(impair.Link{Loss: 1}) // now there is silence
//
// Each end is a TUN, and what one kernel sends is read here and handed to the
// other:
//
//	a's kernel ── TUN ── reader → what the link does → queue → writer ── TUN ── b's kernel
//	              TUN ── writer ← queue ← what the link does ← reader ── TUN
//
// The TUNs have no offloads: packets are of the MTU's size at most, with all
// checksums in them, as on a real wire. Nothing of the kernel's traffic control
// is needed, nor a program.
//
// What befalls the nth packet of a direction is a function of the seed, the
// direction and n alone. (Which bytes are in the nth packet is up to two kernels
// and their timers.)
package impair
