package scale

import (
	"testing"
	"time"
)

func TestScale(t *testing.T) {
	t.Setenv(variable, "")
	if Full() || Of(1, 2) != 1 || For(time.Second, time.Hour) != time.Second {
		t.Error("full size although nobody asked for it")
	}
	t.Setenv(variable, "1")
	if !Full() || Of(1, 2) != 2 || For(time.Second, time.Hour) != time.Hour {
		t.Error("small although full size was asked for")
	}
}
