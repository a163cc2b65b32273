package load

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// opening is how many connections are opened at a time: what is measured is
	// what they cost once they are there.
	opening = 64
	// probed is which part of them is asked for another answer in the end.
	probed = 50
)

// idle opens connections, has each answered, lets them be held, and sees that
// they have not been lost meanwhile.
func (l Load) idle(ctx context.Context, dial Dial) (Result, error) {
	start := time.Now()
	conns := make([]net.Conn, l.Streams)
	defer func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
	}()
	err := each(l.Streams, opening, func(i int) (err error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if conns[i], err = dial(ctx); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		if err := order(conns[i], echo, 0); err != nil {
			return fmt.Errorf("order: %w", err)
		}
		return echoed(conns[i])
	})
	r := Result{Turns: l.Streams, Elapsed: time.Since(start)}
	if err != nil {
		return r, err
	}
	if l.Hold != nil {
		l.Hold(ctx)
	}
	return r, each((l.Streams+probed-1)/probed, opening, func(i int) error { return echoed(conns[i*probed]) })
}

// each calls do for 0 to n-1, several at a time, until one has failed.
func each(n, atOnce int, do func(i int) error) error {
	errs := make([]error, atOnce)
	var wg sync.WaitGroup
	for worker := range min(atOnce, n) {
		wg.Go(func() { // ends with its share, or its first error
			for i := worker; i < n && errs[worker] == nil; i += atOnce {
				if err := do(i); err != nil {
					errs[worker] = fmt.Errorf("%v, application %d of %d: %w", Idle, i+1, n, err)
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err // one is enough
		}
	}
	return nil
}

// echoed sends a byte and waits until it is back.
func echoed(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	b := []byte{'i'}
	if _, err := c.Write(b); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	if _, err := io.ReadFull(c, b); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return c.SetDeadline(time.Time{})
}
