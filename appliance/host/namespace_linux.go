package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// threadNS is the network namespace of the calling thread. Not /proc/self,
// which is that of the process's first thread.
const threadNS = "/proc/thread-self/ns/net"

// Namespace is a network namespace, kept in being by an open descriptor. Its
// methods may be called from any goroutine.
type Namespace struct {
	file *os.File
}

// NewNamespace makes an empty anonymous network namespace. It ends when the
// Namespace is closed and nothing else (a process, a socket) is in it. It takes
// CAP_SYS_ADMIN; see [Reexec] for how an ordinary user gets that.
func NewNamespace() (*Namespace, error) {
	var ns *Namespace
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return explainNetNS(fmt.Errorf("new network namespace: %w", err))
		}
		var err error
		ns, err = OpenNamespace(threadNS)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	return ns, nil
}

// OpenNamespace opens the namespace at path: /run/netns/NAME, /proc/PID/ns/net,
// or what [Namespace.Path] said.
func OpenNamespace(path string) (*Namespace, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	if err != nil || kind != unix.CLONE_NEWNET {
		_ = f.Close()
		return nil, fmt.Errorf("open network namespace: %s is something else", path)
	}
	return &Namespace{file: f}, nil
}

// NamespaceOf opens the network namespace of a process.
func NamespaceOf(pid int) (*Namespace, error) {
	return OpenNamespace(fmt.Sprintf("/proc/%d/ns/net", pid))
}

// CurrentNamespace opens the namespace the caller is in.
func CurrentNamespace() (*Namespace, error) { return OpenNamespace(threadNS) }

// Path is a name for the namespace that other processes of the same user can
// open while this process holds it.
func (n *Namespace) Path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd())
}

// Same reports whether both are the same namespace.
func (n *Namespace) Same(other *Namespace) bool {
	var a, b unix.Stat_t
	return unix.Fstat(int(n.file.Fd()), &a) == nil && unix.Fstat(int(other.file.Fd()), &b) == nil &&
		a.Dev == b.Dev && a.Ino == b.Ino
}

// Close lets go of the namespace; processes and sockets in it keep it. A nil
// Namespace closes too.
func (n *Namespace) Close() error {
	if n == nil {
		return nil
	}
	return n.file.Close()
}

// Do runs fn in the namespace, on the caller's goroutine with its thread
// locked: what fn itself opens is opened inside, what goroutines of fn open is
// not. When Do returns, the thread is where it was. The error is fn's, or why
// the namespace cannot be entered.
func (n *Namespace) Do(fn func() error) error {
	return onThread(func() error {
		if err := n.enter(); err != nil {
			return err
		}
		return fn()
	})
}

func (n *Namespace) enter() error {
	if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	return nil
}

// onThread runs fn, which may change the thread's network namespace, with the
// thread locked, and puts the thread back afterwards, however fn ends. A thread
// that cannot be put back would let later sockets open in the wrong namespace,
// past every rule made for them, so that is a panic.
func onThread(fn func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := OpenNamespace(threadNS)
	if err != nil {
		return err
	}
	defer func() {
		err := home.enter()
		_ = home.Close()
		if err != nil {
			runtime.LockOSThread() // stays locked: nothing else may run here
			panic(fmt.Sprintf("host: thread is lost in a network namespace: %v", err))
		}
	}()
	return fn()
}

// Start starts cmd in the namespace. Everything else about cmd is the caller's,
// including Wait.
func (n *Namespace) Start(cmd *exec.Cmd) error { return n.Do(cmd.Start) }

// handle opens a netlink socket in the namespace.
func (n *Namespace) handle() (*netlink.Handle, error) {
	var h *netlink.Handle
	err := n.Do(func() error {
		var err error
		h, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return h, nil
}

// withHandle runs fn with a netlink socket of the namespace.
func (n *Namespace) withHandle(fn func(*netlink.Handle) error) error {
	h, err := n.handle()
	if err != nil {
		return err
	}
	defer h.Close()
	return fn(h)
}
