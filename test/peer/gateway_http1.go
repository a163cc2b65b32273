package peer

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// maxQueued is how much a script may leave unreceived before the gateway stops
// reading, bytes: what a window is over HTTP/2.
const maxQueued = 1 << 20

// errOnlyHTTP2 is a script that wants of HTTP/1.1 what it has not.
var errOnlyHTTP2 = errors.New("peer: HTTP/1.1 has no such thing")

var errTruncated = errors.New("peer: TLS connection ended without close_notify")

// http1Conn is one HTTP/1.1 connection of a Gateway: a loop that reads one
// request after the other, and the script that answers it.
type http1Conn struct {
	// immutable
	socket net.Conn // what hangs up
	conn   net.Conn // socket, or TLS over it
	in     *bufio.Reader
	script Script
	done   chan struct{} // closed when the loop has ended

	wmu      sync.Mutex // held while writing
	chunked  bool       // guarded by wmu: our body is
	finished bool       // guarded by wmu: our direction of the request is over

	// guarded by mu; cond is signalled at every change
	mu       sync.Mutex
	cond     *sync.Cond
	queued   int // bytes received and not yet taken
	over     bool
	vanished bool

	scripts sync.WaitGroup
}

// truncation is a connection under TLS whose end is an error, since crypto/tls
// takes it for an end between two records (RFC 8446 §6.1 does not).
type truncation struct{ net.Conn }

func (c truncation) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		err = errTruncated
	}
	return n, err
}

func serveHTTP1Gateway(ctx context.Context, c net.Conn, script Script) error {
	g := &http1Conn{socket: c, conn: c, in: bufio.NewReader(c), script: script, done: make(chan struct{})}
	if t, ok := c.(*tls.Conn); ok {
		g.socket = t.NetConn().(truncation).Conn
	}
	g.cond = sync.NewCond(&g.mu)
	var err error
	for id := uint32(1); ; id++ {
		var again bool
		if again, err = g.request(id); !again || err != nil {
			break
		}
	}
	g.change(func() { g.over = true })
	close(g.done)
	if g.hasVanished() {
		<-ctx.Done() // the connection stays, and nothing is said on it
	}
	_ = g.socket.Close()
	g.scripts.Wait()
	return err
}

// request serves one request; again is whether another may follow.
func (g *http1Conn) request(id uint32) (again bool, err error) {
	head, err := g.head()
	if err != nil || head == "" {
		return false, err
	}
	r, err := parseHTTP1Head(head)
	if err != nil {
		return false, err
	}
	r.ID, r.conn = id, g
	g.wmu.Lock()
	g.chunked, g.finished = false, false
	g.wmu.Unlock()
	g.scripts.Go(func() { g.script(r) }) // ends when the connection does
	connect := r.Get(":method") == "CONNECT"
	err = g.body(r, connect)
	if g.hasVanished() {
		return false, nil
	}
	broken := err != nil && !errors.Is(err, io.EOF)
	g.change(func() {
		if r.ended = !broken; broken {
			r.resetCode = new(uint32)
		}
	})
	if !broken {
		g.scripts.Wait()
	}
	g.wmu.Lock()
	defer g.wmu.Unlock()
	return !broken && !connect && g.finished, nil
}

// head reads a head, empty if the client has left before one.
func (g *http1Conn) head() (string, error) {
	var b strings.Builder
	for !strings.HasSuffix(b.String(), "\r\n\r\n") {
		line, err := g.in.ReadString('\n')
		b.WriteString(line)
		switch {
		case err != nil && b.Len() == 0, g.hasVanished():
			return "", nil
		case err != nil:
			return "", fmt.Errorf("gateway: head: %w", err)
		}
	}
	return b.String(), nil
}

func parseHTTP1Head(head string) (*Request, error) {
	lines := strings.Split(strings.TrimSuffix(head, "\r\n\r\n"), "\r\n")
	parts := strings.Split(lines[0], " ")
	if len(parts) != 3 || parts[2] != "HTTP/1.1" {
		return nil, fmt.Errorf("gateway: request line %q", lines[0])
	}
	var fields []hpack.HeaderField
	host := ""
	for _, l := range lines[1:] {
		name, value, ok := strings.Cut(l, ": ")
		if !ok {
			return nil, fmt.Errorf("gateway: header line %q", l)
		}
		name = strings.ToLower(name)
		if name == "host" {
			host = value
		}
		fields = append(fields, hpack.HeaderField{Name: name, Value: value})
	}
	pseudo := []hpack.HeaderField{{Name: ":method", Value: parts[0]}}
	if parts[0] == "CONNECT" {
		pseudo = append(pseudo, hpack.HeaderField{Name: ":authority", Value: parts[1]})
	} else {
		pseudo = append(pseudo, hpack.HeaderField{Name: ":authority", Value: host}, hpack.HeaderField{Name: ":path", Value: parts[1]})
	}
	return &Request{Line: lines[0], Fields: append(pseudo, fields...)}, nil
}

// body reads what follows the head to its end: the payload of a CONNECT, a body
// in chunks, or of a length. io.EOF is the clean end of a payload; a body that
// ends before its own end is broken.
func (g *http1Conn) body(r *Request, connect bool) error {
	if connect {
		return g.take(r, g.in, -1)
	}
	if r.Get("transfer-encoding") != "chunked" {
		n, _ := strconv.ParseInt(r.Get("content-length"), 10, 64)
		return brokenOff(g.take(r, g.in, n))
	}
	for {
		line, err := g.in.ReadString('\n')
		if err != nil {
			return brokenOff(err)
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(line, "\r\n"), 16, 64)
		if err != nil {
			return fmt.Errorf("gateway: chunk size %q", line)
		}
		if n > 0 {
			if err := g.take(r, g.in, n); err != nil {
				return brokenOff(err)
			}
		}
		if end, err := g.in.ReadString('\n'); err != nil || end != "\r\n" {
			return fmt.Errorf("gateway: chunk ends with %q, %w", end, brokenOff(err))
		}
		if n == 0 {
			return nil
		}
	}
}

func brokenOff(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// take queues n bytes, all that come if n is negative, and waits while too much
// is queued.
func (g *http1Conn) take(r *Request, in io.Reader, n int64) error {
	for n != 0 {
		b := make([]byte, 32<<10)
		if n > 0 {
			b = b[:min(n, int64(len(b)))]
		}
		m, err := in.Read(b)
		if n > 0 {
			n -= int64(m)
		}
		g.mu.Lock()
		if m > 0 {
			r.data = append(r.data, b[:m])
			g.queued += m
			g.cond.Broadcast()
		}
		for g.queued > maxQueued && !g.over && !g.vanished {
			g.cond.Wait()
		}
		g.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *http1Conn) respond(r *Request, status int, end bool, fields []string) error {
	g.wmu.Lock()
	defer g.wmu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	framed := r.Get(":method") == "CONNECT" && status/100 == 2
	for _, f := range pairs(fields) {
		fmt.Fprintf(&b, "%s: %s\r\n", f.Name, f.Value)
		framed = framed || f.Name == "content-length" || f.Name == "transfer-encoding"
	}
	switch {
	case framed:
	case end:
		b.WriteString("content-length: 0\r\n")
		g.finished = true
	case status >= 200:
		b.WriteString("transfer-encoding: chunked\r\n")
		g.chunked = true
	}
	b.WriteString("\r\n")
	if err := g.write([]byte(b.String())); err != nil {
		return err
	}
	if framed && end {
		return g.closeWrite()
	}
	return nil
}

func (g *http1Conn) sendTrailers(_ *Request, fields []string) error {
	g.wmu.Lock()
	defer g.wmu.Unlock()
	if !g.chunked {
		return g.closeWrite()
	}
	var b strings.Builder
	b.WriteString("0\r\n")
	for _, f := range pairs(fields) {
		fmt.Fprintf(&b, "%s: %s\r\n", f.Name, f.Value)
	}
	b.WriteString("\r\n")
	g.finished = true
	return g.write([]byte(b.String()))
}

func (g *http1Conn) send(_ *Request, p []byte, end bool) error {
	g.wmu.Lock()
	defer g.wmu.Unlock()
	switch {
	case g.chunked:
		var b []byte
		if len(p) > 0 {
			b = fmt.Appendf(nil, "%x\r\n%s\r\n", len(p), p)
		}
		if end {
			b = append(b, "0\r\n\r\n"...)
			g.finished = true
		}
		return g.write(b)
	case end:
		return errors.Join(g.write(p), g.closeWrite())
	}
	return g.write(p)
}

func (g *http1Conn) closeWrite() error {
	g.finished = true
	return closeWrite(g.conn)
}

// write writes with wmu held.
func (g *http1Conn) write(b []byte) error {
	if g.hasVanished() {
		return ErrGone
	}
	_, err := g.conn.Write(b)
	return err
}

func (g *http1Conn) receive(r *Request) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		switch {
		case r.resetCode != nil:
			return nil, ErrReset
		case len(r.data) > 0:
			b := r.data[0]
			r.data = r.data[1:]
			g.queued -= len(b)
			g.cond.Broadcast()
			return b, nil
		case r.ended:
			return nil, ErrEnded
		case g.over || g.vanished:
			return nil, ErrGone
		}
		g.cond.Wait()
	}
}

func (g *http1Conn) resetBy(r *Request) (uint32, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return 0, r.resetCode != nil
}

func (g *http1Conn) reset(*Request, uint32) error    { g.resetConnection(); return nil }
func (g *http1Conn) goAway(uint32, uint32) error     { return errOnlyHTTP2 }
func (g *http1Conn) settings(...http2.Setting) error { return errOnlyHTTP2 }
func (g *http1Conn) ended() <-chan struct{}          { return g.done }
func (g *http1Conn) hangUp()                         { _ = g.socket.Close() }
func (g *http1Conn) resetConnection()                { reset(g.socket) }

func (g *http1Conn) raw(b []byte) error {
	g.wmu.Lock()
	defer g.wmu.Unlock()
	return g.write(b)
}

func (g *http1Conn) vanish() {
	g.change(func() { g.vanished = true })
	_ = g.socket.SetReadDeadline(time.Unix(1, 0)) // the loop ends; the connection does not
}

func (g *http1Conn) change(fn func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fn()
	g.cond.Broadcast()
}

func (g *http1Conn) hasVanished() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.vanished
}
