package e2e

import (
	"flag"
	"os"
	"testing"

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
	if !given("test.parallel") {
		_ = flag.Set("test.parallel", atOnce) // a flag that exists, a number
	}
	os.Exit(program.RunTests(m, &binary))
}

// given reports whether the command line has a flag.
func given(name string) (found bool) {
	flag.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}
