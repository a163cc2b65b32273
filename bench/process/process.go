package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"culvert/appliance/host"
)

// killAfter is how long a program may take to end after SIGTERM.
const killAfter = 10 * time.Second

// tick is the unit of CPU time in /proc: USER_HZ, 100 on every Linux
// architecture that Go runs on.
const tick = 10 * time.Millisecond

// Process is a program that runs.
type Process struct {
	// Name is how reports speak of it.
	Name string

	cmd    *exec.Cmd
	output bytes.Buffer // of its standard error and output; read after exited
	exited chan struct{}
	err    error // of Wait, once exited
}

// Start starts a program with its arguments, in a network namespace or, if that
// is nil, in the caller's.
func Start(ns *host.Namespace, name string, args ...string) (*Process, error) {
	p := &Process{Name: name, cmd: exec.Command(args[0], args[1:]...), exited: make(chan struct{})}
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

// CPU is the time that all its threads have spent on a processor, in user and
// kernel mode together, children that were waited for not included. Its
// resolution is 10 ms.
func (p *Process) CPU() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		return 0, fmt.Errorf("CPU time of %s: %w", p.Name, err)
	}
	// The second field, the command's name in parentheses, may hold anything.
	_, rest, _ := strings.Cut(string(text[bytes.LastIndexByte(text, ')'):]), " ")
	fields := strings.Fields(rest)
	const utime, stime = 14 - 3, 15 - 3 // proc(5) counts from 1, and two are gone
	if len(fields) <= stime {
		return 0, fmt.Errorf("CPU time of %s: /proc has %d fields", p.Name, len(fields))
	}
	var ticks int64
	for _, f := range []string{fields[utime], fields[stime]} {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("CPU time of %s: %w", p.Name, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

// Resident is its memory that is in RAM, bytes.
func (p *Process) Resident() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0, fmt.Errorf("memory of %s: %w", p.Name, err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("memory of %s: %w", p.Name, err)
			}
			return kb << 10, nil
		}
	}
	return 0, fmt.Errorf("memory of %s: /proc does not say", p.Name)
}
