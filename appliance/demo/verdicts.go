package demo

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

// silence is how long the demo listens to an answer that does not come.
const silence = 3 * time.Second

// soon is how quickly an answer that comes must come.
const soon = time.Second

// verdicts shows that a failed connect is told as what it was.
func (d *demo) verdicts(ctx context.Context) {
	d.out.title("Connects that fail are told to the application as what they were")
	for _, v := range []struct {
		what    string
		address string
		port    int
		want    string
		is      func(error, time.Duration) bool
	}{
		{"a closed port", originAddress4, closedPort, "connection refused, at once", within1s(syscall.ECONNREFUSED)},
		{"an address the gateway cannot reach", unreachableAddress, 80, "no route to host, at once", within1s(syscall.EHOSTUNREACH)},
		{"an address its policy forbids", prohibitedAddress, 80, "prohibited (on IPv4: no route to host), at once", within1s(syscall.EHOSTUNREACH)},
		{"a filtered address", filteredAddress, 80, "nothing, for as long as one waits", isSilence},
	} {
		took, err := d.connect(ctx, v.address, v.port)
		d.out.check(v.is(err, took), "%-36s %-20s expected: %-48s got: %s after %.3f s", v.what,
			net.JoinHostPort(v.address, strconv.Itoa(v.port)), v.want, outcome(err), took.Seconds())
	}
}

// connect tries, from the application's namespace, for as long as silence.
func (d *demo) connect(ctx context.Context, address string, port int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	start := time.Now()
	c, err := d.w.app.DialContext(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err == nil {
		_ = c.Close()
	}
	return time.Since(start), err
}

func within1s(want syscall.Errno) func(error, time.Duration) bool {
	return func(err error, took time.Duration) bool { return errors.Is(err, want) && took < soon }
}

func isSilence(err error, took time.Duration) bool {
	return timedOut(err) && took >= silence
}

func timedOut(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

func outcome(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil:
		return "connected"
	case timedOut(err):
		return "still connecting"
	case errors.As(err, &errno):
		return errno.Error()
	}
	return err.Error()
}
