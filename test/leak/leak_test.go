package leak

import (
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { Main(m) }

func TestCheckFindsAGoroutine(t *testing.T) {
	stop := make(chan struct{})
	before, ignore := Open(), goleak.IgnoreCurrent()
	go func() { <-stop }()
	err := check(before, time.Second, ignore)
	close(stop)
	if err == nil {
		t.Fatal("a goroutine remained and Check said nothing")
	}
	if err := Check(before, ignore); err != nil {
		t.Fatalf("nothing remains: %v", err)
	}
}

func TestCheckFindsAnOpenFile(t *testing.T) {
	before, ignore := Open(), goleak.IgnoreCurrent()
	f, err := os.CreateTemp(t.TempDir(), "kept")
	if err != nil {
		t.Fatal(err)
	}
	err = check(before, time.Second, ignore)
	_ = f.Close()
	if err == nil || !strings.Contains(err.Error(), f.Name()) {
		t.Fatalf("an open file remained and Check said %v", err)
	}
	if err := Check(before, ignore); err != nil {
		t.Fatalf("nothing remains: %v", err)
	}
}
