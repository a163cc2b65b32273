package process

import (
	"strings"
	"testing"
	"time"

	"culvert/test/need"
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

// awaitSaid waits for what a program says while it runs.
func awaitSaid(t *testing.T, p *Process, text string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(p.Said(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s has said %q, and not %q", p.Name, p.Said(), text)
		}
	}
}

// Pipes that a program opens are counted.
func TestPipes(t *testing.T) {
	var counts [2]int
	for i, script := range []string{"echo there; exec sleep 60", "exec 5<&1 6<&1; echo there; exec sleep 60"} {
		p, err := Start(nil, "pipes", "sh", "-c", script)
		if err != nil {
			t.Fatal(err)
		}
		awaitSaid(t, p, "there")
		if counts[i], err = p.Pipes(); err != nil {
			t.Error(err)
		}
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	}
	if counts[1] != counts[0]+2 {
		t.Errorf("%d pipes, and %d with two more", counts[0], counts[1])
	}
}

// An ordinary user is nobody else, and in no group of root's.
func TestStartAs(t *testing.T) {
	need.Root(t)
	p, err := StartAs(65534, nil, "id", "sh", "-c", "id -u; id -G")
	if err != nil {
		t.Fatal(err)
	}
	<-p.Exited()
	if err := p.Stop(); err != nil || p.Output() != "65534\n65534\n" {
		t.Errorf("%q, %v", p.Output(), err)
	}
}
