package distance

import (
	"os"
	"testing"

	"culvert/test/program"
)

// executable is the culvert under test. Written once, before the first test.
var executable string

func TestMain(m *testing.M) { os.Exit(program.RunTests(m, &executable)) }
