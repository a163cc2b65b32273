package soak

import (
	"fmt"
	"os"
	"testing"

	"culvert/test/leak"
	"culvert/test/program"
)

// executable is the culvert under test. Written once, before the first test.
var executable string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	before := leak.Open()
	dir, err := os.MkdirTemp("", "culvert-soak-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if executable, err = program.Build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if code == 0 {
		if err := leak.Check(before); err != nil {
			fmt.Fprintln(os.Stderr, "leak:", err)
			return 1
		}
	}
	return code
}
