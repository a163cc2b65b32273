package appliance

import (
	"flag"
	"testing"

	"culvert/test/leak"
)

var update = flag.Bool("update", false, "write the golden files and the generated documents anew")

func TestMain(m *testing.M) { leak.Main(m) }
