package hostile

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"culvert/test/program"

	"golang.org/x/sys/unix"
)

// process is what a running program costs.
type process struct {
	t   testing.TB
	pid int
}

// cpu is the CPU time the process has used, its kernel's part included.
func (p process) cpu() time.Duration {
	p.t.Helper()
	// The clock of another process, as clock_getcpuclockid(3) numbers it: far
	// finer than the ticks of /proc.
	const scheduled = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^p.pid)<<3|scheduled, &ts); err != nil {
		p.t.Fatalf("CPU time of process %d: %v", p.pid, err)
	}
	return time.Duration(ts.Nano())
}

// raceFactor is how many times more memory a process may take that looks for races.
func raceFactor() int64 {
	if program.Race {
		return 20
	}
	return 1
}

// resident is the memory it holds now, peak the most since resetPeak; bytes.
func (p process) resident() int64 { p.t.Helper(); return p.status("VmRSS") }
func (p process) peak() int64     { p.t.Helper(); return p.status("VmHWM") }

func (p process) resetPeak() {
	p.t.Helper()
	// 5 resets the mark of the most (proc(5)).
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.pid), []byte("5"), 0); err != nil {
		p.t.Fatal(err)
	}
}

func (p process) status(name string) int64 {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			var kib int64
			if _, err := fmt.Sscan(rest, &kib); err != nil {
				p.t.Fatalf("%s: %v", line, err)
			}
			return kib << 10
		}
	}
	p.t.Fatalf("process %d has no %s", p.pid, name)
	return 0
}
