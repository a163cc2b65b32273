package cluster

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// forwardProxy is an HTTP/1.1 proxy on the loopback. Whatever a CONNECT asks
// for is the origin; it notes each CONNECT, and the first byte in its tunnel.
// Other requests it answers itself.
type forwardProxy struct {
	addr string
	// answer is what is written to a CONNECT, piece by piece; before each but the
	// first it waits for go on. Without one: 200.
	answer []string
	goOn   chan struct{}

	origin string
	wg     sync.WaitGroup
	mu     sync.Mutex
	heads  []string // of all requests
	first  []byte   // of each tunnel
	conns  int
}

func serveProxy(t *testing.T, origin string, answer ...string) *forwardProxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &forwardProxy{addr: ln.Addr().String(), origin: origin, answer: answer, goOn: make(chan struct{}, 1<<12)}
	if len(answer) == 0 {
		p.answer = []string{"HTTP/1.1 200 Connection established\r\n\r\n"}
	}
	p.wg.Go(func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns++
			p.mu.Unlock()
			p.wg.Go(func() { p.serve(c.(*net.TCPConn)) }) // ends with the connection
		}
	})
	t.Cleanup(func() { _ = ln.Close(); p.wg.Wait() })
	return p
}

func (p *forwardProxy) serve(c *net.TCPConn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		head := ""
		for !strings.HasSuffix(head, "\r\n\r\n") {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			head += line
		}
		p.mu.Lock()
		p.heads = append(p.heads, head)
		p.mu.Unlock()
		if strings.HasPrefix(head, "CONNECT ") {
			p.tunnel(c, r)
			return
		}
		if _, err := c.Write(okAnswer); err != nil {
			return
		}
	}
}

// tunnel copies without splice: its pipes outlive a test.
func (p *forwardProxy) tunnel(c *net.TCPConn, r *bufio.Reader) {
	for i, piece := range p.answer {
		if i > 0 {
			<-p.goOn
		}
		if _, err := io.WriteString(c, piece); err != nil {
			return
		}
	}
	b, err := r.Peek(1)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.first = append(p.first, b[0])
	p.mu.Unlock()
	o, err := net.Dial("tcp", p.origin)
	if err != nil {
		return
	}
	defer o.Close()
	p.wg.Go(func() { // ends with the origin's side
		_, _ = io.Copy(struct{ io.Writer }{c}, o)
		_ = c.CloseWrite()
	})
	_, _ = io.Copy(struct{ io.Writer }{o}, r)
}

// seen are the requests so far.
func (p *forwardProxy) seen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.heads...)
}

// tunnels are the first bytes of each tunnel.
func (p *forwardProxy) tunnels() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]byte(nil), p.first...)
}

func (p *forwardProxy) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conns
}
