package link

import "errors"

// FrameSize is the space a frame needs for the largest IP packet, bytes.
const FrameSize = 1 << 16

// Flags and GSO types of a Header (virtio specification, "virtio_net_hdr").
const (
	// FlagNeedsChecksum: the transport checksum holds the sum of the pseudo
	// header only; the packet has not left its machine, or the device completes it.
	FlagNeedsChecksum = 1
	// FlagDataValid: the checksum was found correct before.
	FlagDataValid = 2

	GSONone  = 0
	GSOTCPv4 = 1
	GSOTCPv6 = 4
	// gsoECN may be or-ed to a GSO type; it says nothing that matters here.
	gsoECN = 0x80
)

// Header describes a packet as a virtio_net_hdr does. Offsets are counted from
// the first byte of the IP header.
type Header struct {
	Flags   uint8
	GSOType uint8
	// HeaderLen is the length of IP and transport header, bytes. Of a packet
	// that was read it is a hint of the kernel's and not to be relied on.
	HeaderLen uint16
	// GSOSize is the payload of each segment the packet stands for, bytes.
	GSOSize uint16
	// ChecksumStart and ChecksumOffset say where the checksum is, with
	// FlagNeedsChecksum: it covers everything from start and is stored at
	// start + offset.
	ChecksumStart  uint16
	ChecksumOffset uint16
}

// Frame is one packet to be read.
type Frame struct {
	Header Header
	// Space is where the packet goes; the reader of the device provides
	// FrameSize bytes.
	Space []byte
	// Len is the length of the packet in Space.
	Len int
}

// ErrInterrupted is what a Read returns after Interrupt.
var ErrInterrupted = errors.New("device interrupted")

// ErrWouldBlock is what a Write returns whose packet found no room: the packet
// is lost, as on any wire.
var ErrWouldBlock = errors.New("device queue full")

// Device is a source and sink of IP packets: a TUN, a packet socket, a test.
// Whoever opened it closes it, after the stack that uses it has been closed.
type Device interface {
	// Batch is how many frames a Read can fill at most, at least 1.
	Batch() int
	// Read waits for packets, fills frames from the first on and returns how
	// many. One goroutine calls it. An error ends the device.
	Read(frames []Frame) (int, error)
	// Write sends one packet, whose bytes are those of views in order, or loses
	// it; it does not wait. It is called from many goroutines at once, and
	// views belongs to the caller.
	Write(h Header, views [][]byte) error
	// Interrupt makes a waiting Read and all later ones return ErrInterrupted.
	// Write still works.
	Interrupt()
	// MTU is the largest IP packet that is not to be split, bytes.
	MTU() int
}
