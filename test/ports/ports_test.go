package ports

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"

	"culvert/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestFree(t *testing.T) {
	low, high := ephemeral()
	seen := map[int]bool{}
	for _, port := range Free(t, 50) {
		if seen[port] || port < lowest || port > 65535 {
			t.Errorf("port %d", port)
		}
		if high < 65535-1000 || low > lowest+1000 {
			if port >= low && port <= high {
				t.Errorf("port %d is one that the kernel gives", port)
			}
		}
		seen[port] = true
		if claim(t, port) {
			t.Errorf("port %d is given twice", port)
		}
	}
	for port := range seen {
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Error(err)
			continue
		}
		_ = ln.Close()
	}
}

// A port is another's once its test is over; one that somebody listens on is
// nobody's.
func TestClaimEnds(t *testing.T) {
	var port int
	t.Run("its test", func(t *testing.T) { port = Free(t, 1)[0] })
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	if claim(t, port) {
		t.Error("a port that is listened on was claimed")
	}
	_ = ln.Close()
	if !claim(t, port) {
		t.Error("a port is not free after its test")
	}
}

func TestClosed(t *testing.T) {
	if _, err := net.Dial("tcp", Closed(t)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v, want that nobody listens", err)
	}
}

func TestOutside(t *testing.T) {
	for _, tt := range []struct{ low, high, first, last int }{
		{32768, 60999, 20000, 32767},
		{1024, 65535, 20000, 65535}, // nothing is left
		{1024, 40000, 40001, 65535},
		{15000, 20999, 21000, 65535},
		{49152, 65535, 20000, 49151},
	} {
		if first, last := outside(tt.low, tt.high); first != tt.first || last != tt.last {
			t.Errorf("%d to %d: %d to %d, want %d to %d", tt.low, tt.high, first, last, tt.first, tt.last)
		}
	}
}
