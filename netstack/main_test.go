package netstack

import (
	"testing"

	"culvert/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }
