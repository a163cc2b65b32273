package hostile

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// roundBytes is what an attacker sends on one connection at most.
const roundBytes = 256 << 10

// attacker is one connection that speaks frames and keeps to no rule. What it
// writes is gathered, so that attacking costs it little.
type attacker struct {
	*http2.Framer
	nc    net.Conn
	out   *bufio.Writer
	enc   *hpack.Encoder
	block bytes.Buffer
	plain bool   // nothing is remembered of heads, so that each is sent in full
	next  uint32 // number of the next stream
	sent  int64

	asked, dealt, ended chan struct{} // closed by the reader: a head has come, our last PING is answered, it has ended

	// written by the reader
	mu      sync.Mutex
	more    sync.Cond // L is mu; answers has grown, or nothing comes any more
	answers int64     // heads and resets
	goaway  *http2.GoAwayFrame
	readErr error
}

// newAttacker gathers up to gather bytes into one write.
func newAttacker(nc net.Conn, gather int) *attacker {
	a := &attacker{
		nc: nc, next: 1, asked: make(chan struct{}), dealt: make(chan struct{}), ended: make(chan struct{}),
	}
	a.more.L = &a.mu
	a.out = bufio.NewWriterSize(counting{nc, &a.sent}, gather)
	a.Framer = http2.NewFramer(a.out, bufio.NewReaderSize(nc, 64<<10))
	a.AllowIllegalReads, a.AllowIllegalWrites = true, true
	a.SetMaxReadFrameSize(1 << 20)
	a.enc = hpack.NewEncoder(&a.block)
	return a
}

type counting struct {
	io.Writer
	n *int64
}

func (c counting) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	*c.n += int64(n)
	return n, err
}

// greet says what a client says first.
func (a *attacker) greet(settings ...http2.Setting) error {
	if _, err := a.out.WriteString(http2.ClientPreface); err != nil {
		return err
	}
	return errors.Join(a.WriteSettings(settings...), a.WriteSettingsAck())
}

// read reads and forgets until the end.
func (a *attacker) read() {
	defer a.end()
	for {
		f, err := a.ReadFrame()
		if err != nil {
			a.readErr = err
			return
		}
		switch f := f.(type) {
		case *http2.HeadersFrame, *http2.RSTStreamFrame:
			a.answered()
		case *http2.PingFrame:
			if f.IsAck() && f.Data == lastPing {
				close(a.dealt)
			}
		case *http2.GoAwayFrame:
			a.goaway = &http2.GoAwayFrame{ErrCode: f.ErrCode}
		}
	}
}

func (a *attacker) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.ended)
	a.more.Broadcast()
}

func (a *attacker) answered() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.answers++; a.answers == 1 {
		close(a.asked)
	}
	a.more.Broadcast()
}

// inFlight waits until no more than n streams are unanswered.
func (a *attacker) inFlight(n int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	due := int64(a.next/2) - n
	for a.answers < due {
		if err := a.out.Flush(); err != nil {
			return err
		}
		if a.hasEnded() {
			return io.ErrUnexpectedEOF
		}
		a.more.Wait()
	}
	return nil
}

// open opens a stream; a field is "name: value".
func (a *attacker) open(endStream bool, fields ...string) (uint32, error) {
	id := a.next
	a.next += 2
	return id, a.headers(id, endStream, fields...)
}

func (a *attacker) headers(id uint32, endStream bool, fields ...string) error {
	a.block.Reset()
	for _, f := range fields {
		name, value, _ := strings.Cut(f[1:], ": ")
		if err := a.enc.WriteField(hpack.HeaderField{Name: f[:1] + name, Value: value, Sensitive: a.plain}); err != nil {
			return err
		}
	}
	return a.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: a.block.Bytes(), EndStream: endStream, EndHeaders: true})
}

// connect opens a tunnel to the echo, get asks for a page.
func (a *attacker) connect() (uint32, error) {
	return a.open(false, ":method: CONNECT", ":authority: "+echoAddress)
}

func (a *attacker) get(path string) (uint32, error) {
	return a.open(true, ":method: GET", ":scheme: http", ":authority: example.com", ":path: "+path)
}

// hasEnded reports that the victim has hung up.
func (a *attacker) hasEnded() bool {
	select {
	case <-a.ended:
		return true
	default:
		return false
	}
}
