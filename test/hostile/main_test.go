package hostile

import (
	"fmt"
	"os"
	"testing"

	"culvert/test/leak"
	"culvert/test/program"
)

// binary is the culvert under test. Written once, before the first test.
var binary string

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == bystanderArg {
		os.Exit(beBystander())
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	before := leak.Open()
	dir, err := os.MkdirTemp("", "culvert-hostile-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if binary, err = program.Build(dir); err != nil {
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
