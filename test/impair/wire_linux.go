package impair

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"culvert/appliance/host"

	"golang.org/x/sys/unix"
)

// queueLength is the TUNs', packets: their reader is to be slower than the
// kernel for a while without a loss that nobody asked for.
const queueLength = 10000

// End is where a link arrives.
type End struct {
	// Namespace is the caller's, who keeps it open until the wire is closed.
	Namespace *host.Namespace
	// Interface is the name of the TUN that is made in it.
	Interface string
	// Addresses of the interface with their prefix lengths. With the other end's
	// address in the prefix no route is needed.
	Addresses []netip.Prefix
	// Routes that lead into the interface.
	Routes []host.Route
}

// Wire is a link between two namespaces. All methods may be called from any
// goroutine.
type Wire struct {
	// immutable
	ends [2]*end
	ways [2]*direction // from a, from b

	running sync.WaitGroup // readers and writers; they end when the TUNs are closed
	once    sync.Once
	err     error // of Close
}

// Connect makes a link that does in both directions what l says. The caller
// closes it.
func Connect(a, b End, l Link) (*Wire, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	w := &Wire{}
	for i, e := range []End{a, b} {
		made, err := open(e)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("impair: %s: %w", e.Interface, err), w.closeEnds())
		}
		w.ends[i] = made
	}
	w.ways[0] = newDirection(0, w.ends[0].tun, w.ends[1].tun, l)
	w.ways[1] = newDirection(1, w.ends[1].tun, w.ends[0].tun, l)
	for _, d := range w.ways {
		w.running.Go(d.read)
		w.running.Go(d.write)
	}
	return w, nil
}

// Set changes what both directions do from the next packet on. What is under way
// arrives as it would have. It panics at a Link that Connect would refuse.
func (w *Wire) Set(l Link) { w.SetEach(l, l) }

// SetEach is Set with a Link for what a sends and one for what b sends.
func (w *Wire) SetEach(fromA, fromB Link) {
	if err := errors.Join(fromA.check(), fromB.check()); err != nil {
		panic(err)
	}
	w.ways[0].link.Store(&fromA)
	w.ways[1].link.Store(&fromB)
}

// Stats are what has been done with what a sent and with what b sent.
func (w *Wire) Stats() (fromA, fromB Stats) { return w.ways[0].stats(), w.ways[1].stats() }

// Close takes the link away, with the interfaces at its ends. Packets that are
// under way are lost. A second Close does nothing.
func (w *Wire) Close() error {
	w.once.Do(func() {
		w.err = w.closeEnds()
		w.running.Wait()
	})
	return w.err
}

func (w *Wire) closeEnds() error {
	var errs []error
	for _, e := range w.ends {
		if e != nil {
			errs = append(errs, e.applied.Undo(), e.tun.Close())
		}
	}
	return errors.Join(errs...)
}

// end is an End that is there.
type end struct {
	tun     *os.File
	applied *host.Applied
}

// open makes an end's TUN and configures it.
func open(e End) (*end, error) {
	tun, err := openTUN(e)
	if err != nil {
		return nil, err
	}
	applied, err := host.Apply(context.Background(), e.Namespace, host.Plan{
		Interface: e.Interface, MTU: MTU, QueueLength: queueLength, NoLinkLocal: true,
		Addresses: e.Addresses, Routes: e.Routes,
	})
	if err != nil {
		return nil, errors.Join(err, tun.Close())
	}
	return &end{tun, applied}, nil
}

func openTUN(e End) (*os.File, error) {
	fd := -1
	err := e.Namespace.Do(func() (err error) {
		if fd, err = unix.Open(host.TUNNode, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			return os.NewSyscallError("open "+host.TUNNode, err)
		}
		req, err := unix.NewIfreq(e.Interface)
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI) // no IFF_VNET_HDR: whole packets with checksums
		return os.NewSyscallError("TUNSETIFF", unix.IoctlIfreq(fd, unix.TUNSETIFF, req))
	})
	if err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return nil, err
	}
	// Only now: a TUN that has no interface yet cannot be polled.
	return os.NewFile(uintptr(fd), e.Interface), nil
}
