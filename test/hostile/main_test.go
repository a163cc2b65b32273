package hostile

import (
	"os"
	"testing"

	"culvert/test/program"
)

// binary is the culvert under test. Written once, before the first test.
var binary string

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == bystanderArg {
		os.Exit(beBystander())
	}
	os.Exit(program.RunTests(m, &binary))
}
