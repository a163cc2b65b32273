package host

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// files is a machine whose kernel says what the test wants.
func files(m map[string]string) machine {
	return func(path string) ([]byte, error) {
		if s, ok := m[path]; ok {
			return []byte(s), nil
		}
		return nil, os.ErrNotExist
	}
}

const (
	filterOn  = "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"
	filterOff = "Name:\tx\nSeccomp:\t0\n"
)

func TestExplainUserNS(t *testing.T) {
	const (
		status   = "/proc/self/status"
		clone    = "/proc/sys/kernel/unprivileged_userns_clone"
		apparmor = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
		maxNet   = "/proc/sys/user/max_net_namespaces"
	)
	for _, c := range []struct {
		name    string
		err     error
		born    bool
		machine map[string]string
		want    Cause
	}{
		{"none left", unix.ENOSPC, false, nil, UserNSLimit},
		{"no network namespaces left", unix.ENOSPC, true, map[string]string{maxNet: "0\n"}, NetNSLimit},
		{"old kernel", unix.EUSERS, false, nil, UserNSLimit},
		{"not built", unix.EINVAL, false, nil, UserNSUnsupported},
		{"Debian's switch", unix.EPERM, false, map[string]string{clone: "0\n"}, UserNSDisabled},
		{"Debian's switch on", unix.EPERM, false, map[string]string{clone: "1\n"}, UserNSRefused},
		{"AppArmor takes the capabilities", unix.EPERM, true, map[string]string{apparmor: "1\n", status: filterOff}, UserNSAppArmor},
		{"AppArmor refuses", unix.EACCES, false, map[string]string{apparmor: "1\n"}, UserNSAppArmor},
		{"Docker", unix.EPERM, false, map[string]string{status: filterOn}, UserNSSeccomp},
		{"Docker on Ubuntu", unix.EPERM, false, map[string]string{apparmor: "1\n", status: filterOn}, UserNSSeccomp},
		{"AppArmor within a filter", unix.EPERM, true, map[string]string{apparmor: "1\n", status: filterOn}, UserNSAppArmor},
		{"who knows", unix.EPERM, false, map[string]string{apparmor: "0\n", status: filterOff}, UserNSRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := fmt.Errorf("new user namespace: %w", c.err)
			wantObstacle(t, files(c.machine).explainUserNS(in, c.born), c.want, c.err)
		})
	}
}

func TestExplainTUN(t *testing.T) {
	open := func(e error) error { return &os.PathError{Op: "open", Path: TUNNode, Err: e} }
	set := func(e error) error { return os.NewSyscallError("TUNSETIFF", e) }
	for _, c := range []struct {
		name string
		err  error
		want Cause
	}{
		{"no node", open(unix.ENOENT), TUNMissing},
		{"closed", open(unix.EACCES), TUNClosed},
		{"no driver", open(unix.ENODEV), TUNNoDriver},
		{"container", open(unix.EPERM), TUNCgroup},
		{"no capability", set(unix.EPERM), TUNNoCapability},
		{"busy", set(unix.EBUSY), TUNBusy},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantObstacle(t, files(nil).explainTUN(c.err, 0o600), c.want, errors.Unwrap(c.err))
		})
	}
	if err := files(nil).explainTUN(open(unix.EACCES), 0o600); !strings.Contains(err.Error(), "mode is 0600") {
		t.Errorf("%v does not name the mode", err)
	}
}

func TestExplainLeavesOthersAlone(t *testing.T) {
	other := errors.New("something else")
	for name, explain := range map[string]func(error) error{
		"TUN": ExplainTUN, "user namespace": ExplainUserNS, "network namespace": explainNetNS,
	} {
		if got := explain(other); got != other {
			t.Errorf("%s: %v became %v", name, other, got)
		}
		if got := explain(nil); got != nil {
			t.Errorf("%s: nil became %v", name, got)
		}
	}
}

func wantObstacle(t *testing.T, err error, want Cause, inChain error) {
	t.Helper()
	var o *Obstacle
	if !errors.As(err, &o) {
		t.Fatalf("%v is no obstacle", err)
	}
	if o.Cause != want || o.Fix == "" {
		t.Errorf("cause %q, fix %q; want %q and a fix", o.Cause, o.Fix, want)
	}
	if !errors.Is(err, inChain) {
		t.Errorf("%v lost %v", err, inChain)
	}
}
