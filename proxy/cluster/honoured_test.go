package cluster

import (
	"testing"

	"culvert/configs/configstest"
)

// Whatever nobody reads is refused.
func TestHonoured(t *testing.T) { configstest.RefusesUndeclared(t, Honoured()) }
