package process

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"culvert/appliance/host"
)

// killAfter is how long a program may take to end after SIGTERM.
const killAfter = 30 * time.Second

// Process is a program that runs.
type Process struct {
	// Name is how reports speak of it.
	Name string

	cmd    *exec.Cmd
	output transcript
	exited chan struct{}
	err    error // of Wait, once exited
}

// Start starts a program with its arguments, in a network namespace or, if that
// is nil, in the caller's.
func Start(ns *host.Namespace, name string, args ...string) (*Process, error) {
	return start(ns, name, exec.Command(args[0], args[1:]...))
}

// StartAs is Start as an ordinary user, who is in no other group than one of the
// same number.
func StartAs(user uint32, ns *host.Namespace, name string, args ...string) (*Process, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	return start(ns, name, cmd)
}

func start(ns *host.Namespace, name string, cmd *exec.Cmd) (*Process, error) {
	p := &Process{Name: name, cmd: cmd, exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	start := p.cmd.Start
	if ns != nil {
		start = func() error { return ns.Start(p.cmd) }
	}
	if err := start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { // ends with the program
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// PID is its process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output is what it has said, once it has ended.
func (p *Process) Output() string {
	<-p.exited
	return p.output.String()
}

// Said is what it has said so far.
func (p *Process) Said() string { return p.output.String() }

// Exited is closed when the program has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Stop asks the program to end, and kills it if it does not. An end that it was
// asked for is no error.
func (p *Process) Stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error says that it has ended
	select {
	case <-p.exited:
		return p.ended()
	case <-time.After(killAfter):
		_ = p.cmd.Process.Kill()
		<-p.exited
		return fmt.Errorf("%s was asked to end and did not within %v", p.Name, killAfter)
	}
}

// ended is how the program ended, with its last words.
func (p *Process) ended() error {
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signal() == syscall.SIGTERM {
			return nil
		}
	}
	if p.err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w; it said:\n%s", p.Name, p.err, p.output.String())
}

// transcript is what a program says, read while it does.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (t *transcript) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(b)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}
