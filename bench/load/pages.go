package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// pageHost is what requests are for.
const pageHost = "origin.bench.test"

// servePages answers requests in HTTP/1.1, as many as come: GET /N is answered
// by N bytes. What is already read comes first.
func servePages(c net.Conn, already []byte) error {
	r := bufio.NewReader(io.MultiReader(strings.NewReader(string(already)), c))
	body := make([]byte, block)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != "GET" {
			return fmt.Errorf("%q is no request", line)
		}
		left, err := strconv.Atoi(strings.TrimPrefix(fields[1], "/"))
		if err != nil {
			return fmt.Errorf("request: %w", err)
		}
		if _, err := readFields(r); err != nil {
			return err
		}
		head := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", left)
		for part := append(head, body[:min(left, block-len(head))]...); len(part) > 0; part = body[:min(left, block)] {
			n, err := c.Write(part)
			if err != nil {
				return err
			}
			left -= n - len(head)
			head = nil
		}
	}
}

// readFields reads a head's fields to its end, and is the length that they
// announce, -1: none.
func readFields(r *bufio.Reader) (length int, err error) {
	length = -1
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return length, fmt.Errorf("head: %w", err)
		}
		line = strings.TrimSpace(line)
		if line == "" {
			return length, nil
		}
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Content-Length") {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return length, fmt.Errorf("length: %w", err)
			}
		}
	}
}

// requests asks for one page after the other.
func (a *application) requests(ctx context.Context) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	r := bufio.NewReaderSize(c, 64<<10)
	request := fmt.Appendf(nil, "GET /%d HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n", a.size, pageHost)
	for len(a.turns) == 0 || time.Now().Before(a.until) {
		start := time.Now()
		if _, err := c.Write(request); err != nil {
			return fmt.Errorf("request: %w", err)
		}
		if err := readPage(r, a.size); err != nil {
			return err
		}
		a.bytes += int64(a.size)
		a.turns = append(a.turns, time.Since(start))
	}
	return nil
}

// readPage reads an answer, which has to be a page of so many bytes.
func readPage(r *bufio.Reader, size int) error {
	status, err := r.ReadString('\n')
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	if !strings.HasPrefix(status, "HTTP/1.1 200") {
		return fmt.Errorf("answered %q", strings.TrimSpace(status))
	}
	length, err := readFields(r)
	if err != nil {
		return err
	}
	if length != size {
		return fmt.Errorf("a page of %d bytes, want %d", length, size)
	}
	if n, err := r.Discard(size); err != nil {
		return fmt.Errorf("page, after %d bytes: %w", n, err)
	}
	return nil
}
