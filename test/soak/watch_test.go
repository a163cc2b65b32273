package soak

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"culvert/test/program"
)

// sample is what one look at both processes shows.
type sample struct {
	at    time.Time
	bytes int64 // payload, since the beginning
	mice  int64
	cpu   time.Duration // of both, since they began
	held  [2]held       // near, gateway
}

// held is what a process holds.
type held struct {
	rss                     int64 // bytes
	goroutines, descriptors int64
}

func (h held) String() string {
	return fmt.Sprintf("%d MiB, %d goroutines, %d descriptors", h.rss>>20, h.goroutines, h.descriptors)
}

func look(t *testing.T, w *world, l *load) sample {
	t.Helper()
	s := sample{at: time.Now(), bytes: l.moved.Load(), mice: l.mice.Load()}
	for i, c := range w.processes() {
		s.cpu += cpuOf(t, c)
		s.held[i] = heldBy(t, c)
	}
	return s
}

// tick is the unit of times in /proc, USER_HZ of every Linux.
const tick = 10 * time.Millisecond

func cpuOf(t *testing.T, c *program.Culvert) time.Duration {
	t.Helper()
	text := read(t, c, "stat")
	_, rest, _ := strings.Cut(text, ") ") // the name may have spaces
	f := strings.Fields(rest)
	var user, system int64
	if _, err := fmt.Sscan(f[11]+" "+f[12], &user, &system); err != nil { // fields 14 and 15, proc(5)
		t.Fatal(err)
	}
	return time.Duration(user+system) * tick
}

func heldBy(t *testing.T, c *program.Culvert) held {
	t.Helper()
	var size, resident int64
	if _, err := fmt.Sscan(read(t, c, "statm"), &size, &resident); err != nil {
		t.Fatal(err)
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return held{resident * int64(os.Getpagesize()), c.Stat("server.goroutines"), int64(len(fds))}
}

func read(t *testing.T, c *program.Culvert, file string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", c.Cmd.Process.Pid, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// span is what happened between two samples.
type span struct{ from, to sample }

func (s span) rate() float64 {
	return float64(s.to.bytes-s.from.bytes) / s.to.at.Sub(s.from.at).Seconds()
}

// cost is processor seconds per GB.
func (s span) cost() float64 {
	return (s.to.cpu - s.from.cpu).Seconds() / (float64(s.to.bytes-s.from.bytes) / 1e9)
}

func (s span) String() string {
	return fmt.Sprintf("%6.1f MB/s, %.3f CPU s/GB, %d mice; near: %v; gateway: %v",
		s.rate()/1e6, s.cost(), s.to.mice-s.from.mice, s.to.held[0], s.to.held[1])
}

// mean is of what a process held in some samples.
func mean(all []sample, process int) (m held) {
	for _, s := range all {
		h := s.held[process]
		m.rss, m.goroutines, m.descriptors = m.rss+h.rss, m.goroutines+h.goroutines, m.descriptors+h.descriptors
	}
	n := int64(len(all))
	return held{m.rss / n, m.goroutines / n, m.descriptors / n}
}
