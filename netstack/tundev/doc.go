// Package tundev is the TUN device: it is made by wireguard/tun and read and
// written here, whole superpackets with their virtio headers, one system call
// each. wireguard/tun's own Read and Write split and join every superpacket and
// cost three to five times the CPU.
//
// A TUN blocks where it is full: the kernel's TCP above it waits instead of
// losing packets.
package tundev
