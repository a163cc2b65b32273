package e2e

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"culvert/test/leak"
	"culvert/test/program"
)

// applicationArg makes this test binary the program of application_test.go.
const applicationArg = "e2e-application"

// atOnce is how many tests may run beside each other. They wait for timeouts
// more than they work, so it is not the number of processors.
const atOnce = "16"

// binary is the culvert under test. Written once, before the first test.
var binary string

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == applicationArg {
		os.Exit(application(os.Args[2]))
	}
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	before := leak.Open()
	dir, err := os.MkdirTemp("", "culvert-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if binary, err = program.Build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if !given("test.parallel") {
		_ = flag.Set("test.parallel", atOnce) // a flag that exists, a number
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

// given reports whether the command line has a flag.
func given(name string) (found bool) {
	flag.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}
