package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"culvert/bench/load"
	"culvert/bench/process"
	"culvert/bench/subject"
	"culvert/bench/world"
)

// startsWithin is how long a subject may take until it serves.
const startsWithin = 15 * time.Second

// alone reports whether a load is carried by a subject that has carried nothing
// before: memory that it has from others would be taken for none.
func alone(l load.Load) bool { return l.Kind == load.Idle || l.Kind == load.Burst }

// turn is one subject's part of a round.
func (p Plan) turn(ctx context.Context, w *world.World, s subject.Subject, m *Measured) error {
	var starts [][]load.Load
	together := -1
	for _, l := range p.Loads {
		switch _, carries := m.Cells[l.String()]; {
		case !carries || m.Failed[l.String()] != "":
		case alone(l):
			starts = append(starts, []load.Load{l})
		case together < 0:
			together = len(starts)
			starts = append(starts, []load.Load{l})
		default:
			starts[together] = append(starts[together], l)
		}
	}
	for i, loads := range starts {
		if err := p.carry(ctx, w, s, m, loads, i == together); err != nil {
			return err
		}
	}
	return nil
}

// carry starts a subject and lets it carry loads.
func (p Plan) carry(ctx context.Context, w *world.World, s subject.Subject, m *Measured, loads []load.Load, memory bool) (err error) {
	r, err := s.Start(ctx, w, p.Commands)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Stop()) }()
	if err := p.awaitServing(ctx, s, r); err != nil {
		return err
	}
	for _, l := range loads {
		err := p.measure(ctx, s, r, l, m.Cells[l.String()])
		var broken *brokenError
		if errors.As(err, &broken) {
			return err
		}
		if err != nil {
			m.Failed[l.String()] = err.Error()
			fmt.Fprintf(p.Progress, "%s, %v: failed: %v\n", s.Name, l, err)
		}
	}
	if !memory {
		return nil
	}
	return m.remember(r)
}

// brokenError is of a subject that nothing can be said about any more, not of a
// load that it does not carry.
type brokenError struct{ error }

func (e *brokenError) Unwrap() error { return e.error }

// measure lets a subject carry one load.
func (p Plan) measure(ctx context.Context, s subject.Subject, r *subject.Running, l load.Load, c Cell) error {
	if l.Kind == load.Idle {
		return p.hold(ctx, s, r, c)
	}
	l.Duration *= time.Duration(s.Stretch())
	before, err := cpu(r)
	if err != nil {
		return &brokenError{err}
	}
	result, err := p.apply(ctx, r, l)
	if err != nil {
		return err
	}
	after, err := cpu(r)
	if err != nil {
		return &brokenError{err}
	}
	var processes []spent
	for i, proc := range r.Processes {
		processes = append(processes, spent{proc.Name, (after[i] - before[i]).Seconds()})
	}
	c.add(result, l.Kind, processes)
	return nil
}

// remember notes what the subject's processes take.
func (m *Measured) remember(r *subject.Running) error {
	for i, proc := range r.Processes {
		n, err := proc.Resident()
		if err != nil {
			return err
		}
		if i == len(m.Resident) {
			m.Resident = append(m.Resident, Memory{Process: proc.Name})
		}
		m.Resident[i].Bytes = append(m.Resident[i].Bytes, float64(n))
	}
	return nil
}

// awaitServing tries a little of a load until it is carried.
func (p Plan) awaitServing(ctx context.Context, s subject.Subject, r *subject.Running) error {
	little := load.Load{Kind: load.PingPong, Streams: 1}
	if s.Group == subject.Requests {
		little = load.Load{Kind: load.Requests, Streams: 1, Size: 1}
	}
	ctx, cancel := context.WithTimeout(ctx, startsWithin)
	defer cancel()
	for {
		_, err := p.apply(ctx, r, little)
		if err == nil {
			return nil
		}
		for _, proc := range r.Processes {
			select {
			case <-proc.Exited():
				return fmt.Errorf("%s has ended, unasked: %s", proc.Name, proc.Output())
			default:
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("it serves nobody within %v: %w", startsWithin, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// apply lets a program of its own be the applications: who works is then
// charged apart from who is measured, and is in the namespace it has to be in.
func (p Plan) apply(ctx context.Context, r *subject.Running, l load.Load) (load.Result, error) {
	var result load.Result
	proc, err := p.applications(r, l)
	if err != nil {
		return result, err
	}
	select {
	case <-proc.Exited():
	case <-ctx.Done():
		return result, errors.Join(context.Cause(ctx), proc.Stop())
	}
	return outcome(proc)
}

// applications starts them.
func (p Plan) applications(r *subject.Running, l load.Load) (*process.Process, error) {
	return process.Start(r.Namespace, "load", p.Commands["bench"], "load",
		"-kind", string(l.Kind), "-streams", fmt.Sprint(l.Streams), "-duration", l.Duration.String(), "-size", fmt.Sprint(l.Size),
		"-device", r.Device, "-connect", r.Connect, r.Address)
}

// outcome ends applications, and is what they say in the end.
func outcome(proc *process.Process) (result load.Result, err error) {
	if err := proc.Stop(); err != nil {
		return result, err
	}
	return result, json.Unmarshal([]byte(strings.TrimPrefix(proc.Output(), Held+"\n")), &result)
}

// cpu is what each process has spent.
func cpu(r *subject.Running) ([]time.Duration, error) {
	var all []time.Duration
	for _, proc := range r.Processes {
		d, err := proc.CPU()
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}
