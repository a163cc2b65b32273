package neighbours

import (
	"os"
	"testing"

	"culvert/test/program"
)

// binary is the culvert under test. Written once, before the first test.
var binary string

func TestMain(m *testing.M) { os.Exit(program.RunTests(m, &binary)) }
