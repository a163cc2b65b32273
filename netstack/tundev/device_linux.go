package tundev

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"culvert/netstack/link"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"
)

// headerSize is the size of a virtio_net_hdr without buffer count, bytes.
const headerSize = 10

// Device is an open TUN.
type Device struct {
	// immutable
	made   tun.Device
	file   *os.File
	raw    syscall.RawConn
	name   string
	index  int
	mtu    int
	events *sync.WaitGroup // nil of an inherited TUN

	closed atomic.Bool

	reader reader // owned by the goroutine that reads
}

var _ link.Device = (*Device)(nil)

// newDevice prepares a TUN that wireguard/tun has made. On error made is still
// the caller's. The index stays 0 where the interface is not in this network
// namespace, as one behind an inherited descriptor may be.
func newDevice(made tun.Device, mtu int) (*Device, error) {
	name, err := made.Name()
	if err != nil {
		return nil, fmt.Errorf("tun: name: %w", err)
	}
	raw, err := made.File().SyscallConn() // not Fd(), which would make it block
	if err != nil {
		return nil, fmt.Errorf("tun %q: %w", name, err)
	}
	d := &Device{made: made, file: made.File(), raw: raw, name: name, mtu: mtu}
	if ifi, err := net.InterfaceByName(name); err == nil {
		d.index = ifi.Index
	}
	if err := d.setOffloads(); err != nil {
		return nil, fmt.Errorf("tun %q: set offloads: %w", name, err)
	}
	d.reader.bind()
	return d, nil
}

// setOffloads asks for TCP superpackets only. wireguard/tun has asked for UDP
// ones too, which the stack would have to split, and ECN ones are not asked
// for because the stack has no ECN.
func (d *Device) setOffloads() error {
	var err error
	if cerr := d.raw.Control(func(fd uintptr) {
		err = unix.IoctlSetInt(int(fd), unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4|unix.TUN_F_TSO6)
	}); cerr != nil {
		return cerr
	}
	return err
}

// Name is the interface's name.
func (d *Device) Name() string { return d.name }

// Index is the interface's index, 0 of an inherited TUN that lives in another
// network namespace.
func (d *Device) Index() int { return d.index }

// MTU in bytes, as Options gave it.
func (d *Device) MTU() int { return d.mtu }

// File is the descriptor, to be handed to another process. It stays the
// device's; do not call its Fd method.
func (d *Device) File() *os.File { return d.file }

// Batch is 1: a read of a TUN is one packet.
func (d *Device) Batch() int { return 1 }

// Close closes the TUN; the interface vanishes with its last descriptor.
func (d *Device) Close() error {
	d.closed.Store(true)
	err := d.made.Close()
	if d.events != nil {
		d.events.Wait()
	}
	if err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close tun %q: %w", d.name, err)
	}
	return nil
}

// Interrupt ends reading, for good.
func (d *Device) Interrupt() {
	_ = d.file.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed file, whose reads end anyway
}

// reader is the state of a read; the callback is bound once, so that a packet
// allocates nothing.
type reader struct {
	header [headerSize]byte
	iov    [2]unix.Iovec
	n      int
	errno  syscall.Errno
	try    func(fd uintptr) bool
}

func (r *reader) bind() { r.try = r.read }

// read is called with the descriptor readable, perhaps. RawSyscall: the
// descriptor does not block, and a copy of 64 KiB is not worth telling the
// scheduler about.
func (r *reader) read(fd uintptr) bool {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_READV, fd, uintptr(unsafe.Pointer(&r.iov[0])), uintptr(len(r.iov)))
		switch errno {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		}
		r.n, r.errno = int(n), errno
		return true
	}
}

// Read waits in Go's poller for one packet.
func (d *Device) Read(frames []link.Frame) (int, error) {
	r := &d.reader
	f := &frames[0]
	r.iov[0].Base, r.iov[1].Base = &r.header[0], &f.Space[0]
	r.iov[0].SetLen(headerSize)
	r.iov[1].SetLen(len(f.Space))
	err := d.raw.Read(r.try)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), err != nil && d.closed.Load():
		return 0, link.ErrInterrupted
	case err != nil:
		return 0, fmt.Errorf("tun %q: %w", d.name, d.reason(err))
	case r.errno != 0:
		return 0, fmt.Errorf("tun %q: %w", d.name, r.errno)
	case r.n < headerSize:
		return 0, fmt.Errorf("tun %q: read %d bytes, less than a header", d.name, r.n)
	}
	f.Header, f.Len = decode(&r.header), r.n-headerSize
	return 1, nil
}

// reason is why the poller gave up: of a TUN that was deleted it only says that
// it cannot be waited for, the TUN itself says more.
func (d *Device) reason(err error) error {
	d.reader.errno = 0
	if cerr := d.raw.Control(func(fd uintptr) { d.reader.read(fd) }); cerr != nil || d.reader.errno == 0 {
		return err
	}
	return d.reader.errno
}

// writer is the state of a write, bound once like reader.
type writer struct {
	header [headerSize]byte
	iov    []unix.Iovec
	errno  syscall.Errno
	try    func(fd uintptr)
}

// writerPool holds nothing but spare memory, whichever device it came from.
var writerPool = sync.Pool{New: func() any {
	w := &writer{iov: make([]unix.Iovec, 0, 17)}
	w.try = w.write
	return w
}}

// write sends the packet. RawSyscall, as for a read: the kernel runs the
// receiving side of its own TCP in this call, but it does not wait.
func (w *writer) write(fd uintptr) {
	for {
		_, _, w.errno = unix.RawSyscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&w.iov[0])), uintptr(len(w.iov)))
		if w.errno != unix.EINTR {
			return
		}
	}
}

// Write sends one packet with one writev. Writers do not wait for each other.
func (d *Device) Write(h link.Header, views [][]byte) error {
	w := writerPool.Get().(*writer)
	encode(&w.header, h)
	w.iov = append(w.iov[:0], unix.Iovec{Base: &w.header[0]})
	w.iov[0].SetLen(headerSize)
	for _, b := range views {
		if len(b) == 0 {
			continue
		}
		v := unix.Iovec{Base: &b[0]}
		v.SetLen(len(b))
		w.iov = append(w.iov, v)
	}
	err := d.raw.Control(w.try)
	errno := w.errno
	clear(w.iov)
	writerPool.Put(w)
	switch {
	case err != nil:
		return err
	case errno == unix.EAGAIN, errno == unix.ENOBUFS:
		return link.ErrWouldBlock
	case errno != 0:
		return errno
	}
	return nil
}

// decode reads a virtio_net_hdr in the byte order of the machine, which is what
// a TUN uses unless told otherwise.
func decode(b *[headerSize]byte) link.Header {
	e := binary.NativeEndian
	return link.Header{
		Flags: b[0], GSOType: b[1],
		HeaderLen: e.Uint16(b[2:]), GSOSize: e.Uint16(b[4:]),
		ChecksumStart: e.Uint16(b[6:]), ChecksumOffset: e.Uint16(b[8:]),
	}
}

func encode(b *[headerSize]byte, h link.Header) {
	e := binary.NativeEndian
	b[0], b[1] = h.Flags, h.GSOType
	e.PutUint16(b[2:], h.HeaderLen)
	e.PutUint16(b[4:], h.GSOSize)
	e.PutUint16(b[6:], h.ChecksumStart)
	e.PutUint16(b[8:], h.ChecksumOffset)
}
