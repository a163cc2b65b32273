package load

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"time"
)

// ThroughProxy asks an HTTP/1.1 proxy on c for a tunnel to target, a host and a
// port. It owns c: what it returns takes its place.
func ThroughProxy(ctx context.Context, c net.Conn, target string) (net.Conn, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(patience)
	}
	_ = c.SetDeadline(deadline)
	fail := func(err error) (net.Conn, error) {
		_ = c.Close()
		return nil, fmt.Errorf("CONNECT %s: %w", target, err)
	}
	if _, err := fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target); err != nil {
		return fail(err)
	}
	r := bufio.NewReader(c)
	status, err := r.ReadString('\n')
	if err != nil {
		return fail(err)
	}
	if !strings.HasPrefix(status, "HTTP/1.1 200") {
		return fail(fmt.Errorf("the proxy answers %q", strings.TrimSpace(status)))
	}
	for line := status; strings.TrimSpace(line) != ""; {
		if line, err = r.ReadString('\n'); err != nil {
			return fail(err)
		}
	}
	if r.Buffered() > 0 { // no origin of ours speaks first
		return fail(fmt.Errorf("%d bytes follow the answer at once", r.Buffered()))
	}
	return c, nil
}
