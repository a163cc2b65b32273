package tundev

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"
)

// Defaults of Options.
const (
	// DefaultMTU is kept even though superpackets cross whole: larger ones made
	// downloads slower.
	DefaultMTU = 1500
	// DefaultQueueLength is in packets. At the kernel's 500 a burst of 3,000
	// connects loses SYNs and takes 18.6 s instead of 0.3.
	DefaultQueueLength = 10000
)

// maxName is the longest interface name, bytes (IFNAMSIZ less its zero).
const maxName = 15

// Options say what TUN to open. The zero value is a TUN named by the kernel.
type Options struct {
	// Name of the interface. Empty or with a %d the kernel completes it.
	Name string
	// MTU in bytes; 0: DefaultMTU. Of an inherited TUN it says what that has.
	MTU int
	// QueueLength in packets; 0: DefaultQueueLength. Inherited TUNs keep theirs.
	QueueLength int
	// File is an inherited descriptor of a TUN that exists and was made with
	// IFF_VNET_HDR; its name and queue are then its own. Open takes it over.
	File *os.File
}

// Open makes a TUN in the network namespace of the calling thread and sets its
// queue length, or takes over an inherited one. The link is down and has no
// address: that is the caller's. The caller closes the device, with which an
// interface made here vanishes.
func Open(o Options) (*Device, error) {
	if o.MTU == 0 {
		o.MTU = DefaultMTU
	}
	if o.File != nil {
		return inherit(o.File, o.MTU)
	}
	if err := checkName(o.Name); err != nil {
		return nil, err
	}
	made, err := create(o)
	if err != nil {
		return nil, err
	}
	events := drain(made)
	d, err := newDevice(made, o.MTU)
	if err != nil {
		return nil, errors.Join(err, made.Close())
	}
	d.events = events
	if err := d.setQueueLength(o.QueueLength); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// create opens the node first, only to tell "may not open it" from "may not
// make an interface", which wireguard/tun reports alike.
func create(o Options) (tun.Device, error) {
	probe, err := os.OpenFile(devicePath, os.O_RDWR, 0)
	if err != nil {
		return nil, openError(o.Name, err)
	}
	_ = probe.Close() // nothing was made with it
	made, err := tun.CreateTUN(o.Name, o.MTU)
	if err != nil {
		if errors.Is(err, unix.EINVAL) && exists(o.Name) {
			err = fmt.Errorf("%w: %w", unix.EBUSY, err) // an interface, but not a TUN
		}
		return nil, createError(o.Name, err)
	}
	return made, nil
}

func checkName(name string) error {
	if len(name) > maxName || name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n\x00") {
		return fmt.Errorf("create tun %q: %w", name, ErrName)
	}
	return nil
}

func exists(name string) bool {
	_, err := netlink.LinkByName(name)
	return err == nil
}

// inherit takes over a descriptor. Nothing of the interface is changed but the
// offloads: that needs no capability.
func inherit(f *os.File, mtu int) (*Device, error) {
	fd, err := dup(f)
	if err != nil {
		return nil, fmt.Errorf("inherit tun: %w", err)
	}
	made, _, err := tun.CreateUnmonitoredTUNFromFD(fd)
	if err != nil {
		_ = unix.Close(fd) // the TUN is whoever's it was
		return nil, fmt.Errorf("inherit tun: %w", err)
	}
	d, err := newDevice(made, mtu)
	if err != nil {
		return nil, errors.Join(err, made.Close())
	}
	_ = f.Close() // d has the duplicate
	return d, nil
}

// dup duplicates f's descriptor without Fd(), which would make it block.
func dup(f *os.File) (int, error) {
	sc, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	fd := -1
	if cerr := sc.Control(func(old uintptr) {
		fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	}); cerr != nil {
		return 0, cerr
	}
	return fd, err
}

// drain reads the events of wireguard/tun, which nobody here needs, so that
// its goroutines do not wait; it ends when the device is closed.
func drain(d tun.Device) *sync.WaitGroup {
	var done sync.WaitGroup
	done.Go(func() {
		for range d.Events() {
		}
	})
	return &done
}

func (d *Device) setQueueLength(n int) error {
	if n == 0 {
		n = DefaultQueueLength
	}
	link, err := netlink.LinkByIndex(d.index)
	if err != nil {
		return fmt.Errorf("tun %q: find link: %w", d.name, err)
	}
	if err := netlink.LinkSetTxQLen(link, n); err != nil {
		return fmt.Errorf("tun %q: set queue length %d: %w", d.name, n, err)
	}
	return nil
}
