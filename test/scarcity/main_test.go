package scarcity

import (
	"flag"
	"os"
	"testing"

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
	if testing.Short() {
		os.Exit(m.Run()) // nothing here is short, and nothing needs the binary
	}
	os.Exit(program.RunTests(m, &binary))
}
