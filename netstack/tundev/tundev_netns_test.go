package tundev_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"culvert/netstack/link"
	"culvert/netstack/tundev"
	"culvert/test/need"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestOpen(t *testing.T) {
	need.TUN(t)
	n := newNamespace(t)
	for _, c := range []struct {
		name  string
		o     tundev.Options
		mtu   int
		queue int
	}{
		{"defaults", tundev.Options{Name: "culvert0"}, 1500, 10000},
		{"chosen", tundev.Options{Name: "culvert1", MTU: 9000, QueueLength: 777}, 9000, 777},
		{"named by the kernel", tundev.Options{Name: "cv%d"}, 1500, 10000},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := n.openTUN(t, c.o)
			defer d.Close()
			n.must(t, func() error {
				l, err := netlink.LinkByName(d.Name())
				if err != nil {
					return err
				}
				a := l.Attrs()
				if a.MTU != c.mtu || d.MTU() != c.mtu || a.TxQLen != c.queue || a.Index != d.Index() {
					t.Errorf("link %+v, device mtu %d index %d", a, d.MTU(), d.Index())
				}
				return nil
			})
			if !strings.Contains(c.o.Name, "%") && d.Name() != c.o.Name {
				t.Errorf("name %s", d.Name())
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			n.must(t, func() error {
				if _, err := netlink.LinkByName(d.Name()); err == nil {
					t.Error("the interface is still there")
				}
				return nil
			})
		})
	}
}

func TestOpenErrors(t *testing.T) {
	need.TUN(t)
	n := newNamespace(t)
	first := n.openTUN(t, tundev.Options{Name: "culvert0"})
	open := func(name string) error {
		return n.do(func() error {
			d, err := tundev.Open(tundev.Options{Name: name})
			if err == nil {
				d.Close()
			}
			return err
		})
	}
	for name, want := range map[string]error{
		first.Name():            tundev.ErrBusy,
		"lo":                    tundev.ErrBusy,
		"name-of-16-bytes":      tundev.ErrName,
		"a/b":                   tundev.ErrName,
		"..":                    tundev.ErrName,
		strings.Repeat("x", 40): tundev.ErrName,
	} {
		if err := open(name); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
	}
}

// What an ordinary user meets, each with its own error. A private mount
// namespace has a device node of its own.
func TestOpenErrorsOfTheUnprivileged(t *testing.T) {
	need.Root(t)
	need.TUN(t)
	// The thread loses its privileges and ends with the namespace.
	asUser := func(t *testing.T, prepare func() error) error {
		n := newNamespace(t)
		return n.do(func() error {
			if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
				return err
			}
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				return err
			}
			if err := prepare(); err != nil {
				return err
			}
			if err := dropPrivileges(); err != nil {
				return err
			}
			d, err := tundev.Open(tundev.Options{Name: "culvert0"})
			if err == nil {
				d.Close()
			}
			return err
		})
	}
	node := func(mode uint32) func() error {
		return func() error {
			path := filepath.Join(t.TempDir(), "tun")
			if err := unix.Mknod(path, unix.S_IFCHR|mode, int(unix.Mkdev(10, 200))); err != nil {
				return err
			}
			if err := unix.Chmod(path, mode); err != nil {
				return err
			}
			return unix.Mount(path, "/dev/net/tun", "", unix.MS_BIND, "")
		}
	}
	for _, c := range []struct {
		name    string
		prepare func() error
		want    error
	}{
		{"missing", func() error { return unix.Mount("none", "/dev/net", "tmpfs", 0, "") }, tundev.ErrMissing},
		{"closed to the user", node(0o600), tundev.ErrDenied},
		{"no CAP_NET_ADMIN", node(0o666), tundev.ErrNotCapable},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := asUser(t, c.prepare); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// dropPrivileges makes this thread, and no other, one of nobody's.
func dropPrivileges() error {
	const nobody = 65534
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, nobody, nobody, nobody); e != 0 {
		return e
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); e != 0 {
		return e
	}
	return nil
}

// An inherited descriptor is the same TUN: packets cross it after the first
// owner is gone.
func TestInherit(t *testing.T) {
	need.TUN(t)
	n := newNamespace(t)
	first := n.openTUN(t, tundev.Options{Name: "culvert0"})
	sc, err := first.File().SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var fd int
	if err := sc.Control(func(old uintptr) { fd, err = unix.Dup(int(old)) }); err != nil {
		t.Fatal(err)
	}
	second, err := tundev.Open(tundev.Options{File: os.NewFile(uintptr(fd), "tun")}) // from outside
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if second.Name() != "culvert0" || second.MTU() != 1500 {
		t.Errorf("%s, mtu %d", second.Name(), second.MTU())
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	n.must(t, func() error { _, err := netlink.LinkByName("culvert0"); return err })
	if err := echoThrough(t, n, second, kernel4); err != nil {
		t.Error(err)
	}
}

func TestInterruptAndClose(t *testing.T) {
	need.TUN(t)
	n := newNamespace(t)
	for name, end := range map[string]func(*tundev.Device){
		"interrupt": (*tundev.Device).Interrupt,
		"close":     func(d *tundev.Device) { d.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			d := n.openTUN(t, tundev.Options{Name: "culvert0"})
			defer d.Close()
			ended := make(chan error, 1)
			go func() { // ends with the device
				frames := []link.Frame{{Space: make([]byte, link.FrameSize)}}
				for {
					if _, err := d.Read(frames); err != nil {
						ended <- err
						return
					}
				}
			}()
			end(d)
			if err := <-ended; !errors.Is(err, link.ErrInterrupted) {
				t.Errorf("Read: %v", err)
			}
		})
	}
}

// The interface is deleted under us: reading fails and says so.
func TestDeviceVanishes(t *testing.T) {
	need.TUN(t)
	n := newNamespace(t)
	d := n.openTUN(t, tundev.Options{Name: "culvert0"})
	n.must(t, func() error {
		l, err := netlink.LinkByName("culvert0")
		if err != nil {
			return err
		}
		return netlink.LinkDel(l)
	})
	frames := []link.Frame{{Space: make([]byte, link.FrameSize)}}
	for {
		_, err := d.Read(frames)
		if err == nil {
			continue // what the kernel sent before
		}
		if !errors.Is(err, unix.EBADFD) {
			t.Errorf("Read: %v", err)
		}
		return
	}
}
