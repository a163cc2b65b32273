package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/test/topology"
)

const (
	readyWithin = time.Minute
	adminWithin = time.Minute
	adminBytes  = 8 << 20
)

// Spec is a culvert to start.
type Spec struct {
	Host   *topology.Host
	Binary string // path
	Dir    string // of its files
	Name   string // of it in what tests say, and of its files
	Config string // text; its admin is the pipe Dir/Name.sock
	Args   []string
}

// Culvert is a process of the real binary.
type Culvert struct {
	Name string
	Cmd  *topology.Cmd

	t      testing.TB
	config string // path
	log    *Tail
	admin  *http.Client
	exited chan struct{} // closed when it has ended
}

// StartCulvert starts a culvert and waits until it is ready.
func StartCulvert(t testing.TB, s Spec) *Culvert {
	t.Helper()
	c := &Culvert{
		t: t, Name: s.Name, log: &Tail{}, exited: make(chan struct{}),
		config: filepath.Join(s.Dir, s.Name+".yaml"), admin: unixClient(filepath.Join(s.Dir, s.Name+".sock")),
	}
	c.Configure(s.Config)
	c.Cmd = s.Host.Command(s.Binary, append([]string{"-c", c.config}, s.Args...)...)
	c.Cmd.Stdout, c.Cmd.Stderr = c.log, c.log
	t.Cleanup(c.report) // runs after the kill that Start registers
	if err := c.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process
		_ = c.Cmd.Wait()
		close(c.exited)
	}()
	c.awaitReady()
	return c
}

// In is the same process for a subtest, which then is what fails.
func (c *Culvert) In(t testing.TB) *Culvert {
	same := *c
	same.t = t
	return &same
}

// report notices what no test asks for: a crash or a race.
func (c *Culvert) report() {
	log := c.log.Text()
	for _, sign := range []string{"panic:", "fatal error:", "DATA RACE"} {
		if strings.Contains(log, sign) {
			c.t.Errorf("%s: its log has %q", c.Name, sign)
		}
	}
	if c.t.Failed() {
		c.t.Logf("log of %s:\n%s", c.Name, log)
	}
}

func (c *Culvert) awaitReady() {
	c.t.Helper()
	Eventually(c.t, readyWithin, c.Name+" is ready", func() error {
		if c.HasExited() {
			c.t.Fatalf("%s ended before it was ready", c.Name)
		}
		_, err := c.Page("/ready")
		return err
	})
}

// HasExited reports whether the process has ended.
func (c *Culvert) HasExited() bool {
	select {
	case <-c.exited:
		return true
	default:
		return false
	}
}

// Page reads an admin page; a status that is not 200 is an error.
func (c *Culvert) Page(path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), adminWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return "", err
	}
	res, err := c.admin.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, adminBytes))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, res.Status, body)
	}
	return string(body), err
}

// MustPage is Page that fails the test.
func (c *Culvert) MustPage(path string) string {
	c.t.Helper()
	page, err := c.Page(path)
	if err != nil {
		c.t.Fatalf("%s: %v", c.Name, err)
	}
	return page
}

// Stat is a counter or gauge by its full name.
func (c *Culvert) Stat(name string) int64 {
	c.t.Helper()
	for line := range strings.Lines(c.MustPage("/stats")) {
		if rest, ok := strings.CutPrefix(line, name+": "); ok {
			var n int64
			if _, err := fmt.Sscan(rest, &n); err != nil {
				c.t.Fatalf("%s: %s: %v", c.Name, line, err)
			}
			return n
		}
	}
	c.t.Fatalf("%s: there is no %s", c.Name, name)
	return 0
}

// Signal sends a signal.
func (c *Culvert) Signal(s syscall.Signal) {
	c.t.Helper()
	if err := c.Cmd.Process.Signal(s); err != nil {
		c.t.Fatalf("%s: signal %v: %v", c.Name, s, err)
	}
}

// Kill is kill -9; it returns when the process is gone.
func (c *Culvert) Kill() {
	c.t.Helper()
	c.Signal(syscall.SIGKILL)
	<-c.exited
}

// ExitsWithin waits for the end and returns the exit code.
func (c *Culvert) ExitsWithin(d time.Duration) int {
	c.t.Helper()
	select {
	case <-c.exited:
	case <-time.After(d):
		c.t.Fatalf("%s still runs after %v", c.Name, d)
	}
	err := c.Cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatalf("%s: %v", c.Name, err)
	}
	return c.Cmd.ProcessState.ExitCode()
}

// Configure writes another configuration where the process will read it.
func (c *Culvert) Configure(config string) {
	c.t.Helper()
	if err := os.WriteFile(c.config, []byte(config), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// Log is the end of what the process has said so far.
func (c *Culvert) Log() string { return c.log.Text() }

// AwaitLog waits for texts in what the process says.
func (c *Culvert) AwaitLog(within time.Duration, texts ...string) {
	c.t.Helper()
	Eventually(c.t, within, c.Name+" logs it", func() error {
		for _, text := range texts {
			if !strings.Contains(c.log.Text(), text) {
				return fmt.Errorf("no %q in the log", text)
			}
		}
		return nil
	})
}

func unixClient(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
}
