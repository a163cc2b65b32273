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
const listenWithin = 20 * time.Second

// Server is a program of the system that listens.
type Server struct {
	Host    *topology.Host
	Args    []string // the program and its arguments
	Listens []string // addresses that accept when it is ready
	Hosts   string   // what it sees as /etc/hosts; empty: the machine's
	Logs    []string // files that it writes, for a failed test's output
	Env     []string // besides the test's own
}

// Start starts the server and waits until it listens. It sees the machine's files,
// except that /run is its own, with the directories below it that servers want,
// and /etc/hosts, so that it need not ask a name server.
func (s Server) Start(t testing.TB) {
	t.Helper()
	const script = `if [ -n "$0" ]; then mount --bind "$0" /etc/hosts || exit; fi; mount -t tmpfs none /run && mkdir /run/sshd && exec "$@"`
	hosts := ""
	if s.Hosts != "" {
		hosts = filepath.Join(t.TempDir(), "hosts")
		if err := os.WriteFile(hosts, []byte(s.Hosts), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := s.Host.Command(need.Command(t, "sh"), append([]string{"-c", script, hosts}, s.Args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	cmd.Env = append(os.Environ(), s.Env...)
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
	for _, address := range s.Listens {
		Eventually(t, listenWithin, name+" listens", func() error {
			c, err := s.Host.Dial("tcp", address)
			if err == nil {
				_ = c.Close()
			}
			return err
		})
	}
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
