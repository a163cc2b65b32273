package network

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Seldom{Every: 10 * time.Second}
		allow := func(kind string, wantSuppressed int, want bool) {
			t.Helper()
			if n, ok := s.Allow(kind); n != wantSuppressed || ok != want {
				t.Errorf("%s: %d, %v, want %d, %v", kind, n, ok, wantSuppressed, want)
			}
		}
		allow("a", 0, true)
		allow("a", 0, false)
		allow("b", 0, true)
		allow("a", 0, false)
		time.Sleep(10*time.Second - 1)
		allow("a", 0, false)
		time.Sleep(1)
		allow("a", 3, true)
		allow("a", 0, false)
		allow("b", 0, true)
		for i := range 3 * maxSeldom {
			allow(fmt.Sprint(i), 0, true)
			if len(s.seen) > maxSeldom {
				t.Fatalf("%d kinds are remembered", len(s.seen))
			}
		}
	})
}
