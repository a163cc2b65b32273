package program

import (
	"fmt"
	"os"
	"testing"

	"culvert/test/leak"
)

// RunTests is a TestMain's work where tests need the real binary: it builds it,
// writes its path to binary, runs the tests, and fails where goroutines or
// descriptors remain. It returns what the process is to exit with.
func RunTests(m *testing.M, binary *string) int {
	before := leak.Open()
	dir, err := os.MkdirTemp("", "culvert-tests-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if *binary, err = Build(dir); err != nil {
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
