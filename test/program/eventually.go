package program

import (
	"testing"
	"time"
)

// Eventually asks until it is told nil; another process's state can only be
// asked for again.
func Eventually(t testing.TB, within time.Duration, what string, ask func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not after %v: %s: %v", within, what, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
