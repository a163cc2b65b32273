package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"culvert/appliance/host"
)

const (
	readyWithin = 15 * time.Second
	stopWithin  = 5 * time.Second
	adminBytes  = 1 << 20 // more than the flow table of a demo
)

// process is a culvert of the demo, running in a namespace.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   logBuffer
	admin *http.Client
	done  chan struct{} // closed when it has ended
}

// start runs this binary with a configuration, in a namespace, and waits until
// it says that it is ready.
func (w *world) start(ctx context.Context, name string, ns *host.Namespace, config string) (*process, error) {
	path := w.file(name + ".yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, err
	}
	p := &process{name: name, done: make(chan struct{}), admin: unixClient(w.file(name + ".sock"))}
	p.cmd = exec.Command("/proc/self/exe", "-c", path, "--drain-time-s", "1")
	p.cmd.Args[0] = os.Args[0]
	p.cmd.Stderr, p.cmd.Stdout = &p.log, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := ns.Start(p.cmd); err != nil {
		return nil, fmt.Errorf("start the %s culvert: %w", name, err)
	}
	w.procs = append(w.procs, p)
	go p.wait() // ends with the process
	return p, p.awaitReady(ctx)
}

func (p *process) wait() {
	_ = p.cmd.Wait() // how it ended is in its log
	close(p.done)
}

// awaitReady asks /ready until it says LIVE.
func (p *process) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := p.get(ctx, "/ready"); err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("the %s culvert ended:\n%s", p.name, p.log.text())
		case <-ctx.Done():
			return fmt.Errorf("the %s culvert is not ready:\n%s", p.name, p.log.text())
		case <-tick.C:
		}
	}
}

// get reads an admin page.
func (p *process) get(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return "", err
	}
	res, err := p.admin.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, adminBytes))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, res.Status)
	}
	return string(body), err
}

// kill ends the process as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // an error says that it has ended
	<-p.done
}

// stop lets it drain, and kills what does not end.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-time.After(stopWithin):
		p.kill()
		return fmt.Errorf("the %s culvert had to be killed:\n%s", p.name, p.log.text())
	}
}

func unixClient(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
}

// logBuffer keeps what a process says, up to a bound.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buf.Len() < adminBytes {
		l.buf.Write(b)
	}
	return len(b), nil
}

func (l *logBuffer) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(l.buf.String())
}
