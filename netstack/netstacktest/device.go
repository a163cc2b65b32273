package netstacktest

import (
	"sync"

	"culvert/netstack/link"
)

// queueLength is the number of packets on their way in one direction at most.
const queueLength = 4096

// Device is one end of a pair: what is written to one is read from the other.
// A full queue loses packets.
type Device struct {
	in, out chan frame
	mtu     int
	once    sync.Once
	done    chan struct{}
}

var _ link.Device = (*Device)(nil)

type frame struct {
	header link.Header
	bytes  []byte
}

// NewPair joins two devices with an MTU of 1500 bytes.
func NewPair() (a, b *Device) {
	x, y := make(chan frame, queueLength), make(chan frame, queueLength)
	return newDevice(x, y), newDevice(y, x)
}

func newDevice(in, out chan frame) *Device {
	return &Device{in: in, out: out, mtu: 1500, done: make(chan struct{})}
}

// Batch is more than one, as of a packet socket.
func (d *Device) Batch() int { return 4 }

// MTU is 1500.
func (d *Device) MTU() int { return d.mtu }

// Read waits for one packet and takes what else is there.
func (d *Device) Read(frames []link.Frame) (int, error) {
	select {
	case f := <-d.in:
		fill(&frames[0], f)
	case <-d.done:
		return 0, link.ErrInterrupted
	}
	for n := 1; n < len(frames); n++ {
		select {
		case f := <-d.in:
			fill(&frames[n], f)
		default:
			return n, nil
		}
	}
	return len(frames), nil
}

func fill(dst *link.Frame, f frame) {
	dst.Header, dst.Len = f.header, copy(dst.Space, f.bytes)
}

// Write hands a copy to the other end.
func (d *Device) Write(h link.Header, views [][]byte) error {
	var b []byte
	for _, v := range views {
		b = append(b, v...)
	}
	select {
	case d.out <- frame{h, b}:
		return nil
	default:
		return link.ErrWouldBlock
	}
}

// Interrupt ends reading.
func (d *Device) Interrupt() { d.once.Do(func() { close(d.done) }) }
