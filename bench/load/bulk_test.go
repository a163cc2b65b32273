package load

import (
	"context"
	"net"
	"testing"

	"culvert/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func origin(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { Origin(ctx, ln); close(done) }() // ends with ctx
	t.Cleanup(func() { cancel(); <-done })
	return ln.Addr().String()
}

func TestBulk(t *testing.T) {
	address := origin(t)
	for _, d := range []Direction{Down, Up} {
		if _, err := (Bulk{Address: address, Direction: d, Streams: 3, Bytes: block*4 + 1}).Run(t.Context()); err != nil {
			t.Errorf("%v: %v", d, err)
		}
	}
}

// A load that loses bytes is no measurement.
func TestBulkNoticesTruncation(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, orderBytes))
			_, _ = c.Write(make([]byte, 10))
			_ = c.Close()
		}
	}()
	for _, d := range []Direction{Down, Up} {
		if _, err := (Bulk{Address: ln.Addr().String(), Direction: d, Streams: 1, Bytes: 64 << 20}).Run(t.Context()); err == nil {
			t.Errorf("%v: a truncated stream is taken for a whole one", d)
		}
	}
}
