package leak

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// settle is how long goroutines may take to end after the tests, and descriptors
// to close: the kernel and finalisers are not instant, and a machine may be slow.
const settle = 30 * time.Second

// Main runs the tests of a package, then fails it if goroutines or descriptors
// remain that were not there before. Goroutines of the standard library that
// never end are known to goleak; ignore adds others.
func Main(m *testing.M, ignore ...goleak.Option) {
	before := openFiles()
	code := m.Run()
	if code == 0 {
		if err := Check(before, ignore...); err != nil {
			fmt.Fprintln(os.Stderr, "leak:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// Check reports goroutines that still run, and descriptors that are open but
// not in before.
func Check(before Files, ignore ...goleak.Option) error {
	return check(before, settle, ignore...)
}

func check(before Files, settle time.Duration, ignore ...goleak.Option) error {
	deadline := time.Now().Add(settle)
	for { // goleak's own patience is a second or so
		err := goleak.Find(ignore...)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			return err
		}
	}
	for {
		runtime.GC() // package net's spare pipes close when they are collected
		extra := openFiles().minus(before)
		if len(extra) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("open files remain: %s", strings.Join(extra, ", "))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Files are open descriptors: number to what they refer to.
type Files map[string]string

// Open lists the descriptors that are open now, for a later Check.
func Open() Files { return openFiles() }

// openFiles is empty where there is no /proc.
func openFiles() Files {
	const dir = "/proc/self/fd"
	open := Files{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return open
	}
	for _, e := range entries {
		// The directory's own descriptor is gone by now, and has no target.
		if target, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			open[e.Name()] = target
		}
	}
	return open
}

// minus is what a has and b has not. The runtime's own poller is no leak, nor
// are what the testing package writes profiles and its log to.
func (a Files) minus(b Files) []string {
	var out []string
	for fd, target := range a {
		switch {
		case b[fd] == target, strings.HasPrefix(target, "anon_inode:[event"), strings.HasPrefix(target, "anon_inode:[pidfd"):
		default:
			out = append(out, fd+" → "+target)
		}
	}
	return out
}
