package overload

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

// heapShare is the part of a container's memory that may be heap and stacks. The
// rest is the program's own text, and what the kernel buffers for its sockets.
const heapShare = 0.8

// MaxHeap is how much the process may hold where its surroundings say so: a
// share of its control group's memory, or all of GOMEMLIMIT, which is said of
// the heap itself; the less of the two. 0: nobody says so.
func MaxHeap() uint64 {
	bound := uint64(math.MaxInt64)
	if limit := groupLimit("/proc/self/cgroup", "/sys/fs/cgroup"); limit > 0 {
		bound = uint64(heapShare * float64(limit))
	}
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		bound = min(bound, uint64(limit))
	}
	if bound == math.MaxInt64 {
		return 0
	}
	return bound
}

// groupLimit is the smallest memory limit of the control groups that the process
// is in, 0 if there is none. A container sees its own group as the root, or
// under a path that is not there: then the root's counts.
func groupLimit(membership, mount string) uint64 {
	text, err := os.ReadFile(membership)
	if err != nil {
		return 0
	}
	least := uint64(unlimited)
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // ID:CONTROLLERS:PATH
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[1] == "": // version 2
			least = min(least, leastUpwards(mount, parts[2], "memory.max"))
		case strings.Contains(","+parts[1]+",", ",memory,"):
			least = min(least, leastUpwards(filepath.Join(mount, "memory"), parts[2], "memory.limit_in_bytes"))
		}
	}
	if least >= unlimited {
		return 0
	}
	return least
}

// unlimited is beyond any memory; version 1 says so by a number near MaxInt64.
const unlimited = 1 << 60

// leastUpwards is the smallest number in the files of a group and those above it.
func leastUpwards(root, path, file string) uint64 {
	least := uint64(unlimited)
	for path = filepath.Clean("/" + path); ; path = filepath.Dir(path) {
		if text, err := os.ReadFile(filepath.Join(root, path, file)); err == nil {
			if n, err := strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 64); err == nil { // else "max"
				least = min(least, n)
			}
		}
		if path == "/" {
			return least
		}
	}
}
