package process

import (
	"testing"
	"time"
)

// A program that burns a processor is charged for it, one that sleeps is not.
func TestCPU(t *testing.T) {
	busy, err := Start(nil, "busy", "sh", "-c", "while :; do :; done")
	if err != nil {
		t.Fatal(err)
	}
	idle, err := Start(nil, "idle (with) a name", "sleep", "60")
	if err != nil {
		t.Fatal(err)
	}
	const burnt = 100 * time.Millisecond
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got, err := busy.CPU()
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%v, %v", got, err)
		}
		if got >= burnt {
			break
		}
	}
	if got, err := idle.CPU(); err != nil || got >= burnt {
		t.Errorf("a program that sleeps has spent %v, %v", got, err)
	}
	if got, err := idle.Resident(); err != nil || got < 100<<10 || got > 64<<20 {
		t.Errorf("a sleep of %d bytes, %v", got, err)
	}
	for _, p := range []*Process{busy, idle} {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		if _, err := p.CPU(); err == nil {
			t.Errorf("%s has ended and is still charged", p.Name)
		}
	}
}

// What ends by itself says why.
func TestEndedByItself(t *testing.T) {
	p, err := Start(nil, "failing", "sh", "-c", "echo because; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	<-p.Exited()
	err = p.Stop()
	if got := "failing: exit status 3; it said:\nbecause\n"; err == nil || err.Error() != got {
		t.Errorf("%v, want %q", err, got)
	}
}
