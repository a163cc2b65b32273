package e2e

import (
	"testing"
	"time"
)

// eventually asks until it is told nil; another process's state can only be
// asked for again.
func eventually(t *testing.T, within time.Duration, what string, ask func() error) {
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
