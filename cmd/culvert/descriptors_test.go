package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/test/need"
)

// More clients than there are descriptors: those who are in are served, the
// admin answers and counts the others, and there is room again once they leave.
func TestFewDescriptors(t *testing.T) {
	need.Command(t, "prlimit")
	socket := filepath.Join(t.TempDir(), "admin.sock")
	s := start(t, origin(t, 'A'), "--config-yaml", fmt.Sprintf("admin: {address: {pipe: {path: %q}}}", socket))
	pid := fmt.Sprint(s.cmd.Process.Pid)
	// What is set now bounds the descriptors, not the limit of connections that
	// was made of the old one: the worst that can happen.
	if out, err := exec.Command("prlimit", "--pid", pid, "--nofile=128:128").CombinedOutput(); err != nil {
		t.Fatalf("prlimit: %v\n%s", err, out)
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		Dial:              func(string, string) (net.Conn, error) { return net.Dial("unix", socket) },
	}}
	ready := func() error {
		res, err := client.Get("http://localhost/ready")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err == nil && !strings.HasPrefix(string(body), "LIVE") {
			err = fmt.Errorf("%s", body)
		}
		return err
	}
	inside := s.flow(t, 'A')
	var crowd []net.Conn
	for range 400 {
		c, err := net.DialTimeout("tcp", s.front, time.Second)
		if err != nil {
			break // the kernel's queue is full as well
		}
		crowd = append(crowd, c)
	}
	s.awaitLog(t, "too many open files")
	for range 20 {
		if err := ready(); err != nil {
			t.Fatalf("the admin does not answer: %v", err)
		}
	}
	if err := echoes(inside); err != nil {
		t.Errorf("who was in is not served: %v", err)
	}
	for _, c := range crowd {
		_ = c.Close()
	}
	// That they have left is noticed one by one.
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := s.visit()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("there is no room once they have left: %v", err)
		}
	}
}

// visit is a flow that need not be served.
func (s *server) visit() error {
	c, err := net.Dial("tcp", s.front)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		return err
	}
	return echoes(c)
}
