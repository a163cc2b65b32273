package matrix

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"culvert/bench/load"
	"culvert/bench/subject"

	"golang.org/x/sys/unix"
)

// Held is a line of applications that hold their connections from then on, until
// they are asked to end.
const Held = "held"

const (
	// holdsWithin is how long it may take to open flows.
	holdsWithin = time.Minute
	// settles is how long flows are idle before they are looked at: pipes that
	// nobody needs are kept for a moment.
	settles = 6 * time.Second
)

// footprint is what a subject's processes take.
type footprint struct {
	resident []float64 // bytes, by process
	pipes    int
}

func footprintOf(r *subject.Running) (f footprint, err error) {
	for _, proc := range r.Processes {
		n, err := proc.Resident()
		if err != nil {
			return f, err
		}
		pipes, err := proc.Pipes()
		if err != nil {
			return f, err
		}
		f.resident = append(f.resident, float64(n))
		f.pipes += pipes
	}
	return f, nil
}

// hold opens flows, as many as descriptors allow, and looks what the subject's
// processes take for them once they are idle.
func (p Plan) hold(ctx context.Context, s subject.Subject, r *subject.Running, c Cell) error {
	limit, err := p.descriptors()
	if err != nil {
		return err
	}
	flows := s.Idle.Within(limit)
	if flows < 1 {
		return fmt.Errorf("%d descriptors are too few", limit)
	}
	before, err := footprintOf(r)
	if err != nil {
		return &brokenError{err}
	}
	proc, err := p.applications(r, load.Load{Kind: load.Idle, Streams: flows})
	if err != nil {
		return err
	}
	if err := p.awaitHeld(ctx, proc.Said, proc.Exited()); err != nil {
		_, failed := outcome(proc)
		return errors.Join(err, failed)
	}
	after, err := footprintOf(r)
	if err != nil {
		return &brokenError{errors.Join(err, proc.Stop())}
	}
	result, err := outcome(proc)
	if err != nil {
		return fmt.Errorf("flows that were idle: %w", err)
	}
	c.put(Flows, float64(result.Turns))
	c.put(Pipes, float64(after.pipes-before.pipes))
	for i, proc := range r.Processes {
		c.put(PerFlow(proc.Name), (after.resident[i]-before.resident[i])/float64(flows))
	}
	return nil
}

// awaitHeld waits until flows are open, and then until they are idle.
func (p Plan) awaitHeld(ctx context.Context, said func() string, exited <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, holdsWithin)
	defer cancel()
	for wait := 10 * time.Millisecond; wait < settles; {
		if strings.HasPrefix(said(), Held+"\n") {
			wait = settles
		}
		select {
		case <-exited:
			return errors.New("applications have ended before all were answered")
		case <-ctx.Done():
			return fmt.Errorf("flows are not open: %w", context.Cause(ctx))
		case <-time.After(wait):
		}
	}
	return nil
}

// descriptors is how many a process may have: what a Go program takes by itself.
func (p Plan) descriptors() (int, error) {
	if p.Descriptors > 0 {
		return p.Descriptors, nil
	}
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0, fmt.Errorf("descriptors: %w", err)
	}
	return int(min(r.Max, 1<<20)), nil
}
