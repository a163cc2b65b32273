package appliance

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	"culvert/configs"
	"culvert/proxy/transport/selfsigned"
)

// patience bounds what a test waits for; nothing that works takes so long.
const patience = time.Minute

// served is an appliance that runs in this process until the test ends.
type served struct {
	*Appliance
	log    *logText
	drain  context.CancelFunc
	kill   context.CancelFunc
	done   chan struct{} // closed when Run has returned
	runErr error         // once done
}

// serve runs a configuration and waits until it is live. The test ends with a
// kill, and with nothing left.
func serve(t *testing.T, yaml string, drainTime time.Duration) *served {
	t.Helper()
	s := newServed(t, configs.Source{YAML: yaml}, drainTime)
	s.start(t)
	select {
	case <-s.Live():
	case <-s.done:
		t.Fatalf("ended at once: %v", s.runErr)
	}
	return s
}

func newServed(t *testing.T, src configs.Source, drainTime time.Duration) *served {
	t.Helper()
	s := &served{log: &logText{}, done: make(chan struct{})}
	var err error
	s.Appliance, err = New(src, Options{
		Log:    slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Stdout: io.Discard, Stderr: io.Discard, Version: "v0.1.0-3-g306942e", DrainTime: drainTime,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *served) start(t *testing.T) {
	ctx, drain := context.WithCancel(context.Background())
	hard, kill := context.WithCancel(context.Background())
	s.drain, s.kill = drain, kill
	go func() { // ends with drain or kill
		defer close(s.done)
		s.runErr = s.Run(ctx, hard)
	}()
	t.Cleanup(func() {
		drain()
		kill()
		s.wait(t)
		if left := s.flows.Len(); left != 0 {
			t.Errorf("%d flows are left in the table", left)
		}
		if t.Failed() {
			t.Logf("log:\n%s", s.log)
		}
	})
}

// wait returns Run's error.
func (s *served) wait(t *testing.T) error {
	t.Helper()
	select {
	case <-s.done:
		return s.runErr
	case <-time.After(patience):
		t.Fatal("Run has not returned")
		return nil
	}
}

func (s *served) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// logText is a log that a test reads.
type logText struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// render fills a configuration.
func render(t *testing.T, text string, data any) string {
	t.Helper()
	var b strings.Builder
	if err := template.Must(template.New("").Parse(text)).Execute(&b, data); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// certificates writes an authority and certificates for gateway.test into a
// directory, by the names that the example configurations use.
func certificates(t *testing.T, dir string) {
	t.Helper()
	ca, err := selfsigned.NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"ca.pem": ca.PEM()}
	for name, host := range map[string]string{"gateway": "gateway.test", "client": "client.test"} {
		pair, err := ca.Issue(host)
		if err != nil {
			t.Fatal(err)
		}
		files[name+".pem"], files[name+".key"] = pair.Certificate, pair.Key
	}
	for name, pem := range files {
		if err := os.WriteFile(filepath.Join(dir, name), pem, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// listen is a loopback socket of the test.
func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// eventually waits for what another goroutine brings about and nothing
// announces.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// value reads a counter or gauge.
func (s *served) value(name string) int64 {
	v, _ := s.stats.Value(name)
	return v
}

// counts waits until each counter and gauge has its value: who is answered may
// look before those who answered it have counted all they did.
func (s *served) counts(t *testing.T, want map[string]int64) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for name, n := range want {
		for s.value(name) != n && time.Now().Before(deadline) {
			time.Sleep(2 * time.Millisecond)
		}
		if got := s.value(name); got != n {
			t.Errorf("%s is %d, want %d", name, got, n)
		}
	}
}
