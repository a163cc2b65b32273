package process

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CPU is the time that all its threads have spent on a processor, in user and
// kernel mode together, children not included.
func (p *Process) CPU() (time.Duration, error) {
	// The clock of another process, clock_getcpuclockid(3): it counts nanoseconds,
	// where /proc has hundredths of a second.
	const scheduler = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^p.PID()<<3|scheduler), &t); err != nil {
		return 0, fmt.Errorf("CPU time of %s: %w", p.Name, err)
	}
	return time.Duration(t.Nano()), nil
}

// Resident is its memory that is in RAM, bytes.
func (p *Process) Resident() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0, fmt.Errorf("memory of %s: %w", p.Name, err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("memory of %s: %w", p.Name, err)
			}
			return kb << 10, nil
		}
	}
	return 0, fmt.Errorf("memory of %s: /proc does not say", p.Name)
}

// Pipes is how many ends of pipes it has open, those that it was started with
// among them.
func (p *Process) Pipes() (int, error) {
	dir := fmt.Sprintf("/proc/%d/fd", p.PID())
	all, err := os.ReadDir(dir)
	if err != nil {
		return 0, fmt.Errorf("descriptors of %s: %w", p.Name, err)
	}
	pipes := 0
	for _, d := range all {
		target, err := os.Readlink(dir + "/" + d.Name())
		if err == nil && strings.HasPrefix(target, "pipe:") { // else it has gone
			pipes++
		}
	}
	return pipes, nil
}
