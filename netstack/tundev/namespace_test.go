package tundev_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"culvert/netstack/tundev"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if node := os.Getenv(insideEnv); node != "" {
		if err := inside(node); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// namespace is a network namespace with a thread that lives in it.
type namespace struct {
	calls chan func()
	path  string
}

// newNamespace makes one with its loopback up. It vanishes with the test.
func newNamespace(t testing.TB) *namespace {
	t.Helper()
	n := &namespace{calls: make(chan func())}
	made := make(chan error, 1)
	go n.run(made) // ends when calls is closed; its thread, being elsewhere, ends with it
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(n.calls) })
	return n
}

func (n *namespace) run(made chan<- error) {
	runtime.LockOSThread()
	ns, err := netns.New()
	if err == nil {
		defer ns.Close()
		n.path = fmt.Sprintf("/proc/%d/task/%d/ns/net", unix.Getpid(), unix.Gettid())
		err = linkUp("lo")
	}
	made <- err
	for call := range n.calls {
		call()
	}
}

// do runs fn in the namespace.
func (n *namespace) do(fn func() error) error {
	done := make(chan error, 1)
	n.calls <- func() { done <- fn() }
	return <-done
}

func (n *namespace) must(t testing.TB, fn func() error) {
	t.Helper()
	if err := n.do(fn); err != nil {
		t.Fatal(err)
	}
}

func linkUp(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

// The kernel's addresses, where applications live.
var (
	kernel4 = netip.MustParseAddr("10.9.0.2")
	kernel6 = netip.MustParseAddr("fd09::2")
)

// openTUN opens a TUN in the namespace, to which everything is routed.
func (n *namespace) openTUN(t testing.TB, o tundev.Options) *tundev.Device {
	t.Helper()
	var d *tundev.Device
	n.must(t, func() error {
		var err error
		if d, err = tundev.Open(o); err != nil {
			return err
		}
		return routeAll(d.Name())
	})
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func routeAll(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	for _, a := range []netip.Addr{kernel4, kernel6} {
		ip := net.IP(a.AsSlice())
		addr := &netlink.Addr{IPNet: netlink.NewIPNet(ip), Flags: unix.IFA_F_NODAD}
		if err := netlink.AddrAdd(l, addr); err != nil {
			return fmt.Errorf("add %s: %w", a, err)
		}
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return err
	}
	for _, p := range []string{"0.0.0.0/0", "::/0"} {
		_, dst, _ := net.ParseCIDR(p)
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: dst}); err != nil {
			return fmt.Errorf("add route %s: %w", p, err)
		}
	}
	return nil
}
