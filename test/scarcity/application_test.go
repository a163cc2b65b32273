package scarcity

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// dialsAtOnce is how many connects an application has under way.
	dialsAtOnce = 64
	// flowPatience is how long an application waits for one answer.
	flowPatience = 30 * time.Second
)

// tally is what an application says of what it did.
type tally struct {
	Done   int            // flows that were as they should be
	Failed map[string]int // the others, by what they were told
	Took   time.Duration
}

// client is the application program. It obeys lines of its standard input and
// answers each with a tally in JSON:
//
//	open N ADDRESS   N more flows, each answered a byte
//	stall N ADDRESS  N more flows that ask for bytes without end and read none
//	idle N ADDRESS   N more that ask for nothing
//	probe N          another byte through each of N flows that are open
//	close            all of them
type client struct {
	mu    sync.Mutex
	conns []net.Conn // guarded by mu
}

func application() int {
	c := &client{}
	say := json.NewEncoder(os.Stdout)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var verb, address string
		var n int
		_, _ = fmt.Sscan(in.Text(), &verb, &n, &address) // what is missing stays zero
		began := time.Now()
		t := c.obey(verb, n, address)
		t.Took = time.Since(began)
		if err := say.Encode(t); err != nil {
			return 1
		}
	}
	return 0
}

func (c *client) obey(verb string, n int, address string) tally {
	switch verb {
	case "open":
		return several(n, func(int) error { return c.open(address, askEcho) })
	case "stall":
		return several(n, func(int) error { return c.open(address, askFlood) })
	case "idle":
		return several(n, func(int) error { return c.open(address, askNothing) })
	case "probe":
		n = min(n, len(c.conns))
		return several(n, func(i int) error { return exchange(c.conns[i*len(c.conns)/n]) })
	case "close":
		for _, conn := range c.conns {
			_ = conn.Close()
		}
		c.conns = nil
		return tally{}
	}
	return tally{Failed: map[string]int{"no verb " + verb: 1}}
}

// open makes one flow more and asks the origin for something.
func (c *client) open(address string, ask byte) error {
	conn, err := net.DialTimeout("tcp", address, flowPatience)
	if err != nil {
		return err
	}
	switch ask {
	case askEcho:
		err = exchange(conn)
	case askFlood:
		// The least that the kernel takes: what is tested is who else buffers.
		_ = conn.(*net.TCPConn).SetReadBuffer(1)
		_, err = conn.Write([]byte{ask})
	}
	if err != nil {
		_ = conn.Close()
		return err
	}
	c.mu.Lock()
	c.conns = append(c.conns, conn)
	c.mu.Unlock()
	return nil
}

// exchange wants a byte back.
func exchange(conn net.Conn) error {
	b := []byte{askEcho}
	if err := conn.SetDeadline(time.Now().Add(flowPatience)); err != nil {
		return err
	}
	if _, err := conn.Write(b); err != nil {
		return err
	}
	b[0] = 0
	if _, err := io.ReadFull(conn, b); err != nil {
		return err
	}
	if b[0] != askEcho {
		return errors.New("another byte came back")
	}
	return conn.SetDeadline(time.Time{})
}

// several does something n times, some of them at once.
func several(n int, do func(i int) error) tally {
	t := tally{Failed: map[string]int{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	places := make(chan struct{}, dialsAtOnce)
	for i := range n {
		places <- struct{}{}
		wg.Go(func() { // ends within flowPatience, about
			err := do(i)
			<-places
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Failed[told(err)]++
				return
			}
			t.Done++
		})
	}
	wg.Wait()
	return t
}

// told is an error without the addresses in it.
func told(err error) string {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	}
	return err.Error()
}
