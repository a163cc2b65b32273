// Package hostile tests a whole culvert, as a process of its own, against peers
// that mean it harm or stand in the way: HTTP/2 attacks by name, receivers that
// have stopped, flows that want everything.
//
// Attacks are judged by what Envoy calls amplification: what the victim spends
// for what the attacker does. Any server spends something on each byte, so it is
// measured against a client that means well:
//
//	CPU      victim's CPU seconds per byte that the attacker sent
//	         over those per byte of a client that sends ordinary requests
//	memory   by how much the victim's resident memory grew at most, per byte that
//	         the attacker sent, over the same of a client that opens tunnels
//	         and keeps them
//
// Each attack has a culvert of its own, whose memory nobody has warmed up. An
// attacker comes again when it is thrown out, up to ten times a second, and sends
// up to 256 KiB each time: 20 Mbit/s.
package hostile
