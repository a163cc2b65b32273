package need

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Root is for a test that only uid 0 can run.
func Root(t testing.TB) {
	t.Helper()
	var missing error
	if uid := os.Geteuid(); uid != 0 {
		missing = fmt.Errorf("runs as uid %d, not 0", uid)
	}
	demand(t, "root", missing)
}

// Netns is for a test that makes network namespaces in its own process, which
// takes CAP_SYS_ADMIN.
func Netns(t testing.TB) {
	t.Helper()
	demand(t, "network namespaces", tryNetns(nil))
}

// TUN is for a test that opens a TUN in a network namespace of its own: Netns,
// and /dev/net/tun that opens and makes an interface.
func TUN(t testing.TB) {
	t.Helper()
	demand(t, "TUN", tryNetns(tryTUN))
}

// UserNS is for a test that starts a process in new user and network
// namespaces, with privileges there, as an ordinary user would.
func UserNS(t testing.TB) {
	t.Helper()
	demand(t, "user namespaces", tryUserNS())
}

// IPv6 is for a test that uses IPv6 in namespaces or on the loopback.
func IPv6(t testing.TB) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		err = fmt.Errorf("no IPv6 socket: %w", err)
	} else {
		_ = unix.Close(fd)
		if off, rerr := os.ReadFile("/proc/sys/net/ipv6/conf/default/disable_ipv6"); rerr != nil {
			err = errors.New("the kernel has no IPv6")
		} else if len(off) > 0 && off[0] == '1' {
			err = errors.New("net.ipv6.conf.default.disable_ipv6 is 1")
		}
	}
	demand(t, "IPv6", err)
}

// OpenFiles is for a test that holds about n descriptors at once. It raises the
// soft limit of the process as far as that takes.
func OpenFiles(t testing.TB, n uint64) {
	t.Helper()
	var lim unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim)
	switch {
	case err != nil || lim.Cur >= n:
	case lim.Max < n:
		err = fmt.Errorf("%d descriptors, the hard limit is %d", n, lim.Max)
	default:
		lim.Cur = n
		err = unix.Setrlimit(unix.RLIMIT_NOFILE, &lim)
	}
	demand(t, "open files", err)
}

// tryNetns makes a network namespace on a thread that is thrown away, and runs
// then in it.
func tryNetns(then func() error) error {
	done := make(chan error)
	go func() {
		// Never unlocked: the thread, and with it the namespace, ends here.
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err != nil {
			err = fmt.Errorf("unshare: %w", err)
		} else if then != nil {
			err = then()
		}
		done <- err
	}()
	return <-done
}

func tryTUN() error {
	const node = "/dev/net/tun"
	fd, err := unix.Open(node, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", node, err)
	}
	defer func() { _ = unix.Close(fd) }()
	req, err := unix.NewIfreq("need%d")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return fmt.Errorf("make a TUN: %w", err)
	}
	return nil
}

// tryUserNS forks into a new user namespace and unshares a network namespace
// there, which needs the capabilities that some systems (AppArmor) take away.
// The program it would run does not exist: that error means the rest worked.
func tryUserNS() error {
	p, err := os.StartProcess("/proc/self/no-such-program", []string{"probe"}, &os.ProcAttr{
		Sys: &syscall.SysProcAttr{
			Cloneflags:   unix.CLONE_NEWUSER,
			Unshareflags: unix.CLONE_NEWNET,
			UidMappings:  []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
			GidMappings:  []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
		},
	})
	if err == nil {
		_, _ = p.Wait()
		return nil
	}
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return fmt.Errorf("new user and network namespaces: %w", err)
}
