package endings

import (
	"fmt"
	"os"
	"testing"
	"time"

	"culvert/test/program"
)

const (
	// heapSlack is what the heap may have grown by: the table of flows keeps those
	// that have just ended, and pools keep buffers.
	heapSlack = 8 << 20
	// settles is within which what has ended is gone: a connection whose reset was
	// lost is there until its keepalive.
	settles = 60 * time.Second
)

// held is what a process holds.
type held struct {
	goroutines, descriptors int64
	heap                    int64 // bytes
}

func (h held) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d KiB", h.goroutines, h.descriptors, h.heap>>10)
}

func (h held) within(base held) bool {
	return h.goroutines <= base.goroutines && h.descriptors <= base.descriptors && h.heap <= base.heap+heapSlack
}

// look asks a process once. That allocates, so that its collector runs now and
// then, and the least of several looks is what is really held.
func look(t *testing.T, c *program.Culvert) held {
	t.Helper()
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return held{c.Stat("server.goroutines"), int64(len(fds)), c.Stat("server.memory_allocated")}
}

// rest waits until the process no longer holds less from one look to the next,
// for a while.
func rest(t *testing.T, c *program.Culvert) held {
	t.Helper()
	const looks = 100
	least := look(t, c)
	for same := 0; same < looks; same++ {
		h := look(t, c)
		if h.goroutines < least.goroutines || h.descriptors < least.descriptors || h.heap < least.heap {
			same = 0
		}
		least = held{min(h.goroutines, least.goroutines), min(h.descriptors, least.descriptors), min(h.heap, least.heap)}
	}
	return least
}
