package host

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// TUNNode is where the kernel's TUN driver is opened.
const TUNNode = "/dev/net/tun"

// ExplainTUN makes an *Obstacle of an error from opening [TUNNode] or from
// making an interface with it; other errors, and nil, it returns as they are.
func ExplainTUN(err error) error { return machine(os.ReadFile).explainTUN(err, tunMode()) }

// ProbeTUN tries to open [TUNNode] and make an interface in a network namespace
// of its own (in the caller's, if it may not make one), which is gone when it
// returns. The error is an *Obstacle.
func ProbeTUN() error {
	ns, err := NewNamespace()
	if err != nil {
		return ExplainTUN(probeTUN())
	}
	defer func() { _ = ns.Close() }()
	return ExplainTUN(ns.Do(probeTUN))
}

func probeTUN() error {
	fd, err := unix.Open(TUNNode, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: TUNNode, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	req, err := unix.NewIfreq("probe%d")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	return os.NewSyscallError("TUNSETIFF", unix.IoctlIfreq(fd, unix.TUNSETIFF, req))
}

// tunMode is the node's permission bits, for the message.
func tunMode() os.FileMode {
	if st, err := os.Stat(TUNNode); err == nil {
		return st.Mode().Perm()
	}
	return 0
}

// ProbeUserNS finds out whether this user can start a process with privileges
// in user and network namespaces of its own, which is what [Reexec] does. The
// error is an *Obstacle. Nothing remains of the probe.
func ProbeUserNS() error {
	if err := probeUserNS(0); err != nil {
		return ExplainUserNS(err)
	}
	err := probeUserNS(unix.CLONE_NEWNET)
	if err == nil {
		return nil
	}
	return machine(os.ReadFile).explainUserNS(err, true)
}

// probeUserNS forks into a new user namespace, maps this user to root there,
// and then unshares more, which takes the capabilities that root should have.
// The program does not exist: that error means that everything before worked.
func probeUserNS(more uintptr) error {
	p, err := os.StartProcess("/proc/self/no-such-program", []string{"probe"}, &os.ProcAttr{
		Sys: &syscall.SysProcAttr{
			Cloneflags:   unix.CLONE_NEWUSER,
			Unshareflags: more,
			UidMappings:  []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
			GidMappings:  []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
		},
	})
	if err == nil {
		_, err = p.Wait()
		return err
	}
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("new user namespace: %w", err)
}

// ExplainUserNS makes an *Obstacle of an error from starting a process in a
// new user namespace; other errors, and nil, it returns as they are.
func ExplainUserNS(err error) error { return machine(os.ReadFile).explainUserNS(err, false) }

func explainNetNS(err error) error { return machine(os.ReadFile).explainNetNS(err) }

// machine reads what the kernel says about itself, a file at a time.
type machine func(path string) ([]byte, error)

// sysctl is the value of a kernel parameter; false where there is none.
func (m machine) sysctl(path string) (int, bool) {
	b, err := m("/proc/sys/" + path)
	if err != nil {
		return 0, false
	}
	v, err := strconv.Atoi(strings.TrimSpace(string(b)))
	return v, err == nil
}

// filtered reports whether a seccomp filter is on this process.
func (m machine) filtered() bool {
	b, err := m("/proc/self/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "Seccomp:"); ok {
			return strings.TrimSpace(v) == "2" // SECCOMP_MODE_FILTER
		}
	}
	return false
}

func (m machine) explainTUN(err error, mode os.FileMode) error {
	because := func(c Cause, fix string) error { return &Obstacle{Cause: c, Fix: fix, Err: err} }
	var call *os.SyscallError
	making := errors.As(err, &call) // TUNSETIFF, the node did open
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOENT):
		return because(TUNMissing, "load the driver with modprobe tun; in a container add --device "+TUNNode)
	case errors.Is(err, unix.EACCES):
		return because(TUNClosed, fmt.Sprintf("its mode is %04o: chmod 0666 %s, which is safe since making an interface takes CAP_NET_ADMIN besides; or run as root", mode, TUNNode))
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return because(TUNNoDriver, "load it with modprobe tun, on the host if this is a container")
	case errors.Is(err, unix.EBUSY):
		return because(TUNBusy, "another process has an interface of this name: stop it, or choose another name")
	case errors.Is(err, unix.EPERM) && making:
		return because(TUNNoCapability, "run as root, give the program CAP_NET_ADMIN (setcap cap_net_admin+ep), or use namespaces of its own")
	case errors.Is(err, unix.EPERM):
		return because(TUNCgroup, "start the container with --device "+TUNNode+" --cap-add NET_ADMIN")
	}
	return err
}

// explainUserNS: born says that the namespace was made and then had no
// privileges.
func (m machine) explainUserNS(err error, born bool) error {
	because := func(c Cause, fix string) error { return &Obstacle{Cause: c, Fix: fix, Err: err} }
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL):
		return because(UserNSUnsupported, "the kernel needs CONFIG_USER_NS; run as root instead")
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		if v, ok := m.sysctl("user/max_net_namespaces"); ok && v == 0 && born {
			return because(NetNSLimit, "sysctl -w user.max_net_namespaces=1000, or run as root")
		}
		return because(UserNSLimit, "sysctl -w user.max_user_namespaces=1000; namespaces may also be nested too deep")
	case !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES):
		return err
	}
	if v, ok := m.sysctl("kernel/unprivileged_userns_clone"); ok && v == 0 {
		return because(UserNSDisabled, "sysctl -w kernel.unprivileged_userns_clone=1, or run as root")
	}
	// AppArmor lets the namespace be born without capabilities, or refuses it
	// with EACCES; a system call filter refuses the call itself, with EPERM.
	v, _ := m.sysctl("kernel/apparmor_restrict_unprivileged_userns")
	if v != 0 && (born || errors.Is(err, unix.EACCES) || !m.filtered()) {
		return because(UserNSAppArmor, "give the program an AppArmor profile with the rule \"userns,\" in /etc/apparmor.d, or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or run as root")
	}
	if m.filtered() {
		return because(UserNSSeccomp, "in a container: --security-opt seccomp=unconfined, or --cap-add SYS_ADMIN, or run on the host; under systemd: RestrictNamespaces=no")
	}
	return because(UserNSRefused, "a security module or a chroot refuses; run as root")
}

func (m machine) explainNetNS(err error) error {
	because := func(c Cause, fix string) error { return &Obstacle{Cause: c, Fix: fix, Err: err} }
	switch {
	case errors.Is(err, unix.EPERM):
		return because(NetNSNoCapability, "run as root, or in a user namespace of its own")
	case errors.Is(err, unix.ENOSPC):
		return because(NetNSLimit, "sysctl -w user.max_net_namespaces=1000")
	}
	return err
}
