package tundev_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"culvert/netstack"
	"culvert/netstack/tundev"
	"culvert/proxy/network"
	"culvert/test/need"

	"golang.org/x/sys/unix"
)

// insideEnv tells this test program, started again, that it is the one inside
// the namespace, and where the device node is that it may open.
const insideEnv = "TUNDEV_TEST_INSIDE"

// An ordinary user in user, network and mount namespaces of his own makes a TUN
// with a node that is mounted for him, and traffic crosses it:
//
//	uid 65534 ── unshare(user, net, mnt) ── application ── TUN ── stack, one process
func TestUnprivileged(t *testing.T) {
	need.TUN(t)
	need.UserNS(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), insideEnv+"="+node(t))
	uid := os.Getuid()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: uid, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	if uid == 0 {
		const nobody = 65534
		cmd.SysProcAttr.UidMappings[0].HostID = nobody
		cmd.SysProcAttr.GidMappings[0].HostID = nobody
		cmd.SysProcAttr.Credential = &syscall.Credential{NoSetGroups: true} // root there, nobody here
		cmd.Path = readable(t, self)
	}
	runtime.LockOSThread() // Pdeathsig is about the thread
	defer runtime.UnlockOSThread()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// node is a device node that nobody may open: the system's own, or, as root,
// one made for the test.
func node(t *testing.T) string {
	if os.Getuid() != 0 {
		return "/dev/net/tun"
	}
	path := filepath.Join(openDir(t), "tun")
	if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// readable copies the program to where everyone may run it.
func readable(t *testing.T, program string) string {
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(openDir(t), "tundev.test")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// openDir is a directory that everyone may enter; those of t.TempDir are not.
func openDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "tundev")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// inside is the other program.
func inside(node string) error {
	if err := unix.Mount(node, "/dev/net/tun", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", node, err)
	}
	if err := linkUp("lo"); err != nil {
		return err
	}
	d, err := tundev.Open(tundev.Options{Name: "culvert0"})
	if err != nil {
		return err
	}
	defer d.Close()
	if err := routeAll(d.Name()); err != nil {
		return err
	}
	s, err := netstack.New(netstack.Config{TCPListener: "x"}, netstack.Deps{
		Device: d, Lookup: func(string) (network.Handler, bool) { return &far{}, true },
	})
	if err != nil {
		return err
	}
	ran := make(chan error, 1)
	go func() { ran <- s.Run(context.Background()) }() // ends with Close
	here := &namespace{calls: make(chan func())}
	go func() { // ends with the program
		for call := range here.calls {
			call()
		}
	}()
	c, err := here.connect(target(kernel4, hostAccepts), patience)
	if err != nil {
		return err
	}
	if err := transfer(c, 8<<20); err != nil {
		return err
	}
	s.Close()
	return <-ran
}
