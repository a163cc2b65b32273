package topology

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"syscall"
)

// Cmd is a program to run on a host. It is an exec.Cmd, to be set up as one
// likes and started by the methods below only.
type Cmd struct {
	*exec.Cmd
	host *Host
	once sync.Once
	err  error
}

// Command prepares a program that runs on the host, with the test's own files
// and environment. If it still runs when the test ends it is killed, also where
// the test ends because its own process is killed.
func (h *Host) Command(name string, args ...string) *Cmd {
	return &Cmd{Cmd: exec.Command(name, args...), host: h}
}

// Start starts the program.
func (c *Cmd) Start() error {
	c.host.t.Helper()
	if c.SysProcAttr == nil {
		c.SysProcAttr = &syscall.SysProcAttr{}
	}
	c.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := c.host.starter.do(func() error { return c.host.Namespace.Start(c.Cmd) }); err != nil {
		return fmt.Errorf("start on host %s: %w", c.host.name, err)
	}
	c.host.t.Cleanup(func() {
		_ = c.Process.Kill() // an error says that it has ended
		_ = c.Wait()
	})
	return nil
}

// Wait returns when the program has ended. It may be called more than once.
func (c *Cmd) Wait() error {
	c.once.Do(func() { c.err = c.Cmd.Wait() })
	return c.err
}

// Run starts the program and waits.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the program and returns what it prints; what it prints to
// standard error is part of the error, unless Stderr is set.
func (c *Cmd) Output() ([]byte, error) {
	var out, stderr bytes.Buffer
	c.Stdout = &out
	if c.Stderr == nil {
		c.Stderr = &stderr
	}
	err := c.Run()
	if err != nil && stderr.Len() > 0 {
		err = errors.Join(err, errors.New(stderr.String()))
	}
	return out.Bytes(), err
}

// CombinedOutput runs the program and returns all it prints.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}
