package program

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/test/need"
	"culvert/test/topology"
)

// listenWithin is how long a server may take to start.
const listenWithin = time.Minute

// Server is a program of the system that listens.
type Server struct {
	Host    *topology.Host
	Args    []string // the program and its arguments
	Listens []string // addresses that accept when it is ready
	Hosts   string   // what it sees as /etc/hosts; empty: the machine's
	Logs    []string // files that it writes, for a failed test's output
}

// Start starts the server, contained, and waits until it listens.
func (s Server) Start(t testing.TB) {
	t.Helper()
	cmd := Contained(t, s.Host, s.Hosts, s.Args...)
	var log Tail
	cmd.Stdout, cmd.Stderr = &log, &log
	name := filepath.Base(s.Args[0])
	t.Cleanup(func() { // runs after the kill that Start registers
		if t.Failed() {
			t.Logf("log of %s:\n%s%s", name, log.Text(), s.files())
		}
	})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { // ends with the process
		_ = cmd.Wait()
		close(exited)
	}()
	for _, address := range s.Listens {
		Eventually(t, listenWithin, name+" listens", func() error {
			select {
			case <-exited:
				t.Fatalf("%s ended before it listened: %v", name, cmd.ProcessState)
			default:
			}
			c, err := s.Host.Dial("tcp", address)
			if err == nil {
				_ = c.Close()
			}
			return err
		})
	}
}

// Contained prepares a program that ends with all it starts, as the first process
// of a PID namespace. It sees the machine's files, except that /proc and /run are
// its own, the latter with the directories that servers want, and /etc/hosts if
// hosts is not empty, so that it need not ask a name server.
func Contained(t testing.TB, h *topology.Host, hosts string, args ...string) *topology.Cmd {
	t.Helper()
	const script = `if [ -n "$0" ]; then mount --bind "$0" /etc/hosts || exit; fi
mount -t proc none /proc && mount -t tmpfs none /run && mkdir /run/sshd && exec "$@"`
	path := ""
	if hosts != "" {
		path = filepath.Join(t.TempDir(), "hosts")
		if err := os.WriteFile(path, []byte(hosts), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := h.Command(need.Command(t, "sh"), append([]string{"-c", script, path}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS}
	return cmd
}

// files is the end of each log file.
func (s Server) files() string {
	var all strings.Builder
	for _, path := range s.Logs {
		text, err := os.ReadFile(path)
		if err != nil {
			text = []byte(err.Error())
		}
		text = text[max(0, len(text)-tailBytes):]
		fmt.Fprintf(&all, "%s:\n%s\n", filepath.Base(path), text)
	}
	return all.String()
}
