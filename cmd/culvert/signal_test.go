package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/network"
	"culvert/test/need"
	"culvert/test/peer"
	"culvert/test/ports"
)

// patience bounds what a test waits for.
const patience = time.Minute

// scratch is where the real binary is built; TestMain makes and removes it.
var scratch string

var build = sync.OnceValues(func() (path string, err error) {
	path = filepath.Join(scratch, "culvert")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

// binary is the real thing, built once.
func binary(t *testing.T) string {
	t.Helper()
	need.Command(t, "go")
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// server is a culvert that runs as a process of its own.
type server struct {
	cmd    *exec.Cmd
	front  string // address
	config string // path
	stdout *os.File
	lines  chan string // of its log
	done   chan struct{}
	err    error // how it ended, once done
}

const frontTemplate = `
static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: 127.0.0.1, port_value: %s}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tcp
          cluster: origin
          access_log: [{name: out, typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog}}]
  clusters:
  - name: origin
    load_assignment:
      cluster_name: origin
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %s}}}}]}]
`

func (s *server) write(t *testing.T, origin string) {
	t.Helper()
	_, front, _ := net.SplitHostPort(s.front)
	_, port, _ := net.SplitHostPort(origin)
	if err := os.WriteFile(s.config, fmt.Appendf(nil, frontTemplate, front, port), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs culvert and waits until it says that it is ready.
func start(t *testing.T, origin string, args ...string) *server {
	t.Helper()
	stdout, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	return startInto(t, stdout, origin, args...)
}

// startInto is start with an output of the test's.
func startInto(t *testing.T, stdout *os.File, origin string, args ...string) *server {
	t.Helper()
	dir := t.TempDir()
	s := &server{
		front: ports.Closed(t), config: filepath.Join(dir, "culvert.yaml"), stdout: stdout,
		lines: make(chan string, 100), done: make(chan struct{}),
	}
	s.write(t, origin)
	s.cmd = exec.Command(binary(t), append([]string{"-c", s.config}, args...)...)
	s.cmd.Stdout = s.stdout
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go s.run(stderr) // ends with the process
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		<-s.done
		_ = s.stdout.Close()
	})
	s.awaitLog(t, "msg=ready")
	return s
}

func (s *server) run(stderr io.Reader) {
	defer close(s.done)
	for in := bufio.NewScanner(stderr); in.Scan(); {
		select {
		case s.lines <- in.Text():
		default: // more than a test looks at
		}
	}
	s.err = s.cmd.Wait()
}

// awaitLog waits for a line of the log with a text in it.
func (s *server) awaitLog(t *testing.T, text string) string {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case line := <-s.lines:
			if strings.Contains(line, text) {
				return line
			}
		case <-s.done:
			t.Fatalf("ended before it said %q: %v", text, s.err)
		case <-timeout:
			t.Fatalf("it never said %q", text)
		}
	}
}

func (s *server) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// endsWell waits for the exit, which must be 0.
func (s *server) endsWell(t *testing.T) {
	t.Helper()
	select {
	case <-s.done:
		if s.err != nil {
			t.Errorf("it ended with %v", s.err)
		}
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
}

// flow is an application's connection; it has met the origin of that letter.
func (s *server) flow(t *testing.T, letter byte) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", s.front)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	got := make([]byte, 1)
	if _, err := io.ReadFull(c, got); err != nil || got[0] != letter {
		t.Fatalf("met %q, %v, want %q", got, err, letter)
	}
	return c.(*net.TCPConn)
}

// origin greets with its letter, then echoes.
func origin(t *testing.T, letter byte) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return peer.Serve(t, ln, func(ctx context.Context, c net.Conn) error {
		if _, err := c.Write([]byte{letter}); err != nil {
			return errors.Join(err, c.Close())
		}
		return peer.Echo()(ctx, c)
	}).Addr()
}

// echoes is an error unless a line comes back.
func echoes(c net.Conn) error {
	const line = "still here\n"
	got := make([]byte, len(line))
	if _, err := io.WriteString(c, line); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != line {
		return fmt.Errorf("echo %q", got)
	}
	return nil
}

// The first signal drains: no new connections, and open ones go on to their
// own end.
func TestSignalDrains(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			s := start(t, origin(t, 'A'))
			c := s.flow(t, 'A')
			s.signal(t, sig)
			s.awaitLog(t, "msg=draining")
			s.signal(t, syscall.SIGHUP) // too late for that
			if err := echoes(c); err != nil {
				t.Errorf("the open flow does not go on: %v", err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
			if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
				t.Errorf("%q, %v behind the end", rest, err)
			}
			s.endsWell(t)
			record, err := os.ReadFile(s.stdout.Name())
			if err != nil || strings.Count(string(record), "\n") != 1 || !strings.Contains(string(record), " 11 12 ") {
				t.Errorf("stdout %q, %v, want one access record", record, err)
			}
		})
	}
}

// The second one ends it at once.
func TestSecondSignalEnds(t *testing.T) {
	s := start(t, origin(t, 'A'))
	c := s.flow(t, 'A')
	s.signal(t, syscall.SIGTERM)
	s.awaitLog(t, "msg=draining")
	s.signal(t, syscall.SIGTERM)
	s.endsWell(t)
	if _, err := c.Read(make([]byte, 1)); !network.IsReset(err) {
		t.Errorf("the open flow ended with %v, want a reset", err)
	}
}

// --drain-time-s bounds the drain.
func TestDrainTimeFlag(t *testing.T) {
	s := start(t, origin(t, 'A'), "--drain-time-s", "0")
	c := s.flow(t, 'A')
	s.signal(t, syscall.SIGTERM)
	s.endsWell(t)
	if _, err := c.Read(make([]byte, 1)); !network.IsReset(err) {
		t.Errorf("the open flow ended with %v, want a reset", err)
	}
}

// SIGHUP reads the configuration again; a broken one changes nothing.
func TestSIGHUPReloads(t *testing.T) {
	s := start(t, origin(t, 'A'))
	c := s.flow(t, 'A')
	s.write(t, origin(t, 'B'))
	s.signal(t, syscall.SIGHUP)
	s.awaitLog(t, "configuration replaced")
	s.flow(t, 'B')
	if err := os.WriteFile(s.config, []byte("static_resources: {listener: []}"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.signal(t, syscall.SIGHUP)
	line := s.awaitLog(t, "configuration refused, the old one stays")
	if !strings.Contains(line, s.config+":1: static_resources.listener") {
		t.Errorf("log %q does not say where", line)
	}
	s.flow(t, 'B')
	if err := echoes(c); err != nil {
		t.Errorf("the flow of the first configuration does not go on: %v", err)
	}
}

// A configuration that cannot be served is exit code 1 and names the address.
func TestServeFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := &server{front: taken.Addr().String(), config: filepath.Join(t.TempDir(), "culvert.yaml")}
	s.write(t, "127.0.0.1:1")
	out, err := exec.Command(binary(t), "-c", s.config).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
		t.Errorf("it ended with %v, want exit code %d", err, exitFailed)
	}
	want := `culvert: listener "front": listen on ` + s.front + ": bind: address already in use\n"
	if !strings.HasSuffix(string(out), want) {
		t.Errorf("output %q, want %q at its end", out, want)
	}
}

// A signal to end is heard at once, behind any number of those that ask for a
// configuration, and while one is being read.
func TestEndIsHeardBehindReloads(t *testing.T) {
	s := start(t, origin(t, 'A'))
	if err := os.Remove(s.config); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(s.config, 0o600); err != nil { // nobody ever writes: reading takes for ever
		t.Fatal(err)
	}
	for range 50 {
		s.signal(t, syscall.SIGHUP)
	}
	s.signal(t, syscall.SIGTERM)
	s.endsWell(t)
}

// Whoever reads the access log may go away; culvert stays.
func TestReaderOfStdoutGoesAway(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := startInto(t, w, origin(t, 'A'))
	_ = w.Close()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := s.flow(t, 'A').Close(); err != nil {
			t.Error(err)
		}
	}
	s.signal(t, syscall.SIGTERM) // what was not yet written is written now
	s.endsWell(t)
}

// Whoever has moved an access log away asks for a new one by SIGUSR1, or by
// SIGHUP as other servers want it.
func TestSignalsReopenLogs(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "access.log")
			logged := ports.Closed(t)
			_, port, _ := net.SplitHostPort(logged)
			s := start(t, origin(t, 'A'), "--config-yaml", fmt.Sprintf(loggedYAML, port, log))
			s.front = logged
			flow := func(records string) {
				t.Helper()
				if err := s.flow(t, 'A').Close(); err != nil {
					t.Error(err)
				}
				awaitFile(t, log, records)
			}
			flow("A\n")
			if err := os.Rename(log, log+".1"); err != nil {
				t.Fatal(err)
			}
			s.signal(t, sig)
			awaitFile(t, log, "") // it is there again
			flow("A\n")
			awaitFile(t, log+".1", "A\n")
		})
	}
}

// loggedYAML adds a listener with an access log in a file to frontTemplate.
const loggedYAML = `
static_resources:
  listeners:
  - name: logged
    address: {socket_address: {address: 127.0.0.1, port_value: %s}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: logged
          cluster: origin
          access_log:
          - name: file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: %q
              log_format: {text_format_source: {inline_string: "A\n"}}
`

// awaitFile waits until a file is there and holds want.
func awaitFile(t *testing.T, path, want string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		got, err := os.ReadFile(path)
		if err == nil && string(got) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %q, %v, want %q", filepath.Base(path), got, err, want)
		}
	}
}

// What SIGHUP asks for before culvert serves is done when it does; while it
// drains, logs are opened anew, but no configuration is read.
func TestWatchSignals(t *testing.T) {
	tests := []struct {
		name string
		in   []any // signals, and "live"
		want string
	}{
		{"reload", []any{"live", syscall.SIGHUP, syscall.SIGHUP}, "reopen reload reopen reload"},
		{"reload before live", []any{syscall.SIGHUP, syscall.SIGHUP, "live"}, "reopen reload"},
		{"reopen at any time", []any{syscall.SIGUSR1, "live", syscall.SIGUSR1, syscall.SIGTERM, syscall.SIGUSR1}, "reopen reopen drain reopen"},
		{"drain and kill", []any{"live", syscall.SIGTERM, syscall.SIGINT}, "drain kill"},
		{"drain before live", []any{syscall.SIGHUP, syscall.SIGINT, "live", syscall.SIGHUP, syscall.SIGTERM}, "drain reopen reopen kill"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				signals := processSignals{make(chan os.Signal, 2), make(chan os.Signal, 1), make(chan os.Signal, 1)}
				live, done := make(chan struct{}), make(chan struct{})
				var got []string
				note := func(what string) func(os.Signal) { return func(os.Signal) { got = append(got, what) } }
				signals.watch(live, done, signalActions{
					reload: func() { note("reload")(nil) }, reopen: func() { note("reopen")(nil) }, drain: note("drain"), kill: note("kill"),
				})
				send := func(c chan os.Signal, sig os.Signal) {
					select {
					case c <- sig:
					default: // as the runtime does
					}
				}
				for _, in := range tt.in {
					switch in {
					case syscall.SIGHUP:
						send(signals.reload, syscall.SIGHUP)
					case syscall.SIGUSR1:
						send(signals.reopen, syscall.SIGUSR1)
					case "live":
						close(live)
					default:
						send(signals.end, in.(os.Signal))
					}
					synctest.Wait()
				}
				close(done)
				synctest.Wait()
				if strings.Join(got, " ") != tt.want {
					t.Errorf("did %q, want %q", got, tt.want)
				}
			})
		})
	}
}
