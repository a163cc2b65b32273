package examples

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"culvert/test/leak"
)

// bin is the directory of the culvert under test. Written once, before the first
// test.
var bin string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	before := leak.Open()
	dir, err := os.MkdirTemp("", "culvert-examples-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := build(filepath.Join(dir, "culvert")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	bin = dir
	code := m.Run()
	if code == 0 {
		if err := leak.Check(before); err != nil {
			fmt.Fprintln(os.Stderr, "leak:", err)
			return 1
		}
	}
	return code
}

// build builds the binary as the Makefile does; where the tests look for races,
// the binary does too.
func build(path string) error {
	args, cgo := []string{"build", "-o", path}, "CGO_ENABLED=0"
	if raceEnabled {
		args, cgo = append(args, "-race"), "CGO_ENABLED=1"
	}
	cmd := exec.Command("go", append(args, "culvert/cmd/culvert")...)
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build culvert: %w\n%s", err, out)
	}
	return nil
}
