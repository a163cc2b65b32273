// Package ports finds TCP ports of the loopback for tests that must name one
// before anybody listens there, or at which nobody ever will.
//
// A port that was free a moment ago will not do: the kernel gives it to whoever
// next asks for any, and the tests of other packages do so all the time, by
// listening on port 0 and by each connect they make. So these ports are none
// that the kernel gives by itself, and no two tests that run at once get the
// same.
package ports

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"testing"
)

// lowest is above what a system's own services have, and what tests name
// themselves.
const lowest = 20000

// attempts bound the search: one in many is taken.
const attempts = 1000

// Free are n ports that differ. They are the test's until it ends.
func Free(t testing.TB, n int) []int {
	t.Helper()
	first, last := outside(ephemeral())
	found := make([]int, 0, n)
	for range attempts {
		if len(found) == n {
			return found
		}
		port := first + rand.IntN(last-first+1)
		if claim(t, port) {
			found = append(found, port)
		}
	}
	t.Fatalf("%d of %d ports are free between %d and %d", len(found), n, first, last)
	return nil
}

// Closed is an address of the loopback at which nobody listens while the test
// runs.
func Closed(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", Free(t, 1)[0])
}

// claim makes port the test's own, if it is free. What says so to other
// processes is a UDP socket on an address that nothing else uses: the TCP port
// itself is left to whom the test has listen there.
func claim(t testing.TB, port int) bool {
	mine, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 211, 211, 211), Port: port})
	if err != nil {
		return false
	}
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		_ = mine.Close()
		return false
	}
	_ = ln.Close()
	t.Cleanup(func() { _ = mine.Close() })
	return true
}

// ephemeral is the range that the kernel takes ports from that nobody named.
func ephemeral() (low, high int) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		_, err = fmt.Sscan(string(text), &low, &high)
	}
	if err != nil {
		return 32768, 65535
	}
	return low, high
}

// outside is the larger part of the ports that is not within low and high; all
// of them where too little is.
func outside(low, high int) (first, last int) {
	const enough, top = 1000, 65535
	first, last = lowest, min(low-1, top)
	if top-high > last-first {
		first, last = max(high+1, lowest), top
	}
	if last-first < enough {
		return lowest, top
	}
	return first, last
}
