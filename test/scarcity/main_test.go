package scarcity

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"culvert/test/leak"
	"culvert/test/program"
)

// First arguments that make this test binary one of the programs it starts.
const (
	applicationArg = "scarcity-application"
	originArg      = "scarcity-origin"
)

// binary is the culvert under test. Written once, before the first test.
var binary string

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case applicationArg:
			os.Exit(application())
		case originArg:
			os.Exit(origin(os.Args[2:]))
		}
	}
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if testing.Short() {
		return m.Run() // nothing here is short, and nothing needs the binary
	}
	before := leak.Open()
	dir, err := os.MkdirTemp("", "culvert-scarcity-")
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
