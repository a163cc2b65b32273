package host

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"culvert/test/need"

	"golang.org/x/sys/unix"
)

// innerArg makes this test binary one of the processes below.
const innerArg = "host-test-inner"

func inner(role string) int {
	if role == "outer" { // starts another and dies without a word
		in, err := Reexec{Args: []string{innerArg, "wait"}, Stderr: os.Stderr}.Start(context.Background())
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println(in.PID())
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		select {}
	}
	p, err := JoinParent(context.Background())
	if err != nil {
		fmt.Println(err)
		return 3
	}
	defer func() { _ = p.Close() }()
	switch role {
	case "fail":
		_ = p.Failed(errors.New("no TUN for me"))
	case "exit":
		return 7
	case "hang":
		<-p.Context().Done()
	case "privileges":
		fmt.Println(os.Getuid(), privileges())
		_ = p.Ready()
	case "tun":
		if err := ProbeTUN(); err != nil {
			_ = p.Failed(err)
			return 1
		}
		_ = p.Ready()
	case "wait":
		_ = p.Ready()
		<-p.Context().Done()
	}
	return 0
}

// privileges tries what an appliance does inside.
func privileges() string {
	ns, err := NewNamespace()
	if err != nil {
		return err.Error()
	}
	defer func() { _ = ns.Close() }()
	if err := ns.LoopbackUp(); err != nil {
		return err.Error()
	}
	other, err := NewNamespace()
	if err != nil {
		return err.Error()
	}
	defer func() { _ = other.Close() }()
	if err := VethPair(ns, "a", other, "b"); err != nil {
		return err.Error()
	}
	if err := ns.Sysctl("ipv4.ip_forward", "1"); err != nil {
		return err.Error()
	}
	return "ok"
}

func TestReexec(t *testing.T) {
	need.UserNS(t)
	start := func(ctx context.Context, role string) (*Inner, error) {
		return Reexec{Args: []string{innerArg, role}, Stderr: os.Stderr}.Start(ctx)
	}
	privileges := func(keepUID bool) (string, error) {
		var out bytes.Buffer
		in, err := Reexec{Args: []string{innerArg, "privileges"}, KeepUID: keepUID, Mount: true, Stdout: &out}.Start(t.Context())
		if err == nil {
			err = in.Wait()
		}
		return out.String(), err
	}
	t.Run("root inside", func(t *testing.T) {
		out, err := privileges(false)
		if err != nil || out != "0 ok\n" {
			t.Errorf("%q, %v", out, err)
		}
	})
	t.Run("own uid inside", func(t *testing.T) {
		out, err := privileges(true)
		if want := strconv.Itoa(os.Getuid()) + " ok\n"; err != nil || out != want {
			t.Errorf("%q, %v; want %q", out, err, want)
		}
	})
	t.Run("TUN inside", func(t *testing.T) {
		f, closed := os.OpenFile(TUNNode, os.O_RDWR, 0)
		_ = f.Close()
		in, err := start(t.Context(), "tun")
		if err == nil {
			err = in.Wait()
		}
		// Whoever can open the node can make a TUN; whoever cannot is told why.
		if closed == nil && err != nil || closed != nil && (err == nil || !strings.Contains(err.Error(), "TUN")) {
			t.Errorf("the node opens with %v, a TUN inside: %v", closed, err)
		}
		t.Logf("the node opens with %v, a TUN inside: %v", closed, err)
	})
	t.Run("stop", func(t *testing.T) {
		in, err := start(t.Context(), "wait")
		must(t, err)
		if err := in.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("killed", func(t *testing.T) {
		in, err := start(t.Context(), "wait")
		must(t, err)
		must(t, in.Signal(unix.SIGKILL))
		<-in.Done()
		var exit *exec.ExitError
		if err := in.Wait(); !errors.As(err, &exit) {
			t.Errorf("killed, and Wait says %v", err)
		}
	})
	t.Run("fails", func(t *testing.T) {
		if _, err := start(t.Context(), "fail"); err == nil || !strings.Contains(err.Error(), "no TUN for me") {
			t.Error(err)
		}
	})
	t.Run("exits before it is ready", func(t *testing.T) {
		if _, err := start(t.Context(), "exit"); err == nil || !strings.Contains(err.Error(), "exit status 7") {
			t.Error(err)
		}
	})
	t.Run("never ready", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := start(ctx, "hang"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// The inner process dies with the one that started it, even by kill -9.
func TestReexecDiesWithParent(t *testing.T) {
	need.UserNS(t)
	cmd := exec.Command("/proc/self/exe", innerArg, "outer")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	// The pipe's other holder is the inner process: it ends at EOF.
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(line)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	must(t, err)
	defer func() { _ = unix.Close(fd) }()
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 5000)
	if n != 1 || err != nil {
		t.Errorf("process %d lives on without its parent (%v)", pid, err)
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

func TestJoinParentByHand(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", innerArg, "wait")
	out, err := cmd.Output()
	if err == nil || !strings.Contains(string(out), "not for use by hand") {
		t.Errorf("%q, %v", out, err)
	}
}

func TestProbes(t *testing.T) {
	t.Run("user namespaces", func(t *testing.T) {
		need.UserNS(t)
		if err := ProbeUserNS(); err != nil {
			t.Error(err)
		}
	})
	t.Run("TUN", func(t *testing.T) {
		need.TUN(t)
		if err := ProbeTUN(); err != nil {
			t.Error(err)
		}
	})
}
