package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"culvert/bench/load"
	"culvert/bench/process"
	"culvert/bench/subject"
	"culvert/bench/world"
)

// startsWithin is how long a subject may take until it serves.
const startsWithin = 15 * time.Second

// Plan is what to measure.
type Plan struct {
	Subjects []subject.Subject
	Loads    []load.Load
	Rounds   int
	Commands subject.Commands
	// Progress is told of each subject and round.
	Progress io.Writer
}

// Run measures. A subject that fails is left out from then on, and what went
// wrong is among the results; the error is of the run itself.
func (p Plan) Run(ctx context.Context) (*Results, error) {
	w, err := world.New(ctx, p.Commands["bench"], "origin")
	if err != nil {
		return nil, err
	}
	res := &Results{Rounds: p.Rounds, Loads: p.Loads}
	for _, s := range p.Subjects {
		m := Measured{Name: s.Name, Group: string(s.Group), Cells: map[string]Cell{}, Failed: map[string]string{}}
		if s.Missing != nil {
			m.Failed[start] = s.Missing.Error()
		}
		for _, l := range p.Loads {
			m.Cells[l.String()] = Cell{}
		}
		res.Subjects = append(res.Subjects, m)
	}
	for round := range p.Rounds {
		for i := range p.Subjects {
			// Each round begins with another one, so that nobody is always the
			// first, or behind the same.
			at := (i + round) % len(p.Subjects)
			m := &res.Subjects[at]
			if m.Failed[start] != "" {
				continue
			}
			began := time.Now()
			err := p.turn(ctx, w, p.Subjects[at], m)
			fmt.Fprintf(p.Progress, "round %d of %d: %-40s %5.1fs", round+1, p.Rounds, p.Subjects[at].Name, time.Since(began).Seconds())
			if ctx.Err() != nil {
				return res, errors.Join(context.Cause(ctx), w.Close())
			}
			if err != nil {
				m.Failed[start] = err.Error()
				fmt.Fprintf(p.Progress, "  failed: %v", err)
			}
			fmt.Fprintln(p.Progress)
		}
	}
	return res, w.Close()
}

// turn is one subject's part of a round.
func (p Plan) turn(ctx context.Context, w *world.World, s subject.Subject, m *Measured) (err error) {
	r, err := s.Start(ctx, w, p.Commands)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Stop()) }()
	if err := p.awaitServing(ctx, r); err != nil {
		return err
	}
	for _, l := range p.Loads {
		if m.Failed[l.String()] != "" {
			continue
		}
		before, err := cpu(r)
		if err != nil {
			return err
		}
		result, err := p.apply(ctx, r, l)
		if err != nil {
			m.Failed[l.String()] = err.Error()
			fmt.Fprintf(p.Progress, "%s, %v: failed: %v\n", s.Name, l, err)
			continue
		}
		after, err := cpu(r)
		if err != nil {
			return err
		}
		m.Cells[l.String()].add(result, l.Kind, (after - before).Seconds())
	}
	resident := int64(0)
	for _, proc := range r.Processes {
		n, err := proc.Resident()
		if err != nil {
			return err
		}
		resident += n
	}
	m.Resident = append(m.Resident, float64(resident))
	return nil
}

// awaitServing tries a little of a load until it is carried.
func (p Plan) awaitServing(ctx context.Context, r *subject.Running) error {
	ctx, cancel := context.WithTimeout(ctx, startsWithin)
	defer cancel()
	for {
		_, err := p.apply(ctx, r, load.Load{Kind: load.PingPong, Streams: 1})
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
	args := []string{p.Commands["bench"], "load",
		"-kind", string(l.Kind), "-streams", fmt.Sprint(l.Streams), "-duration", l.Duration.String(),
		"-device", r.Device, "-connect", r.Connect, r.Address}
	proc, err := process.Start(r.Namespace, "load", args...)
	if err != nil {
		return result, err
	}
	select {
	case <-proc.Exited():
	case <-ctx.Done():
		return result, errors.Join(context.Cause(ctx), proc.Stop())
	}
	if err := proc.Stop(); err != nil {
		return result, err
	}
	return result, json.Unmarshal([]byte(proc.Output()), &result)
}

func cpu(r *subject.Running) (time.Duration, error) {
	total := time.Duration(0)
	for _, proc := range r.Processes {
		d, err := proc.CPU()
		if err != nil {
			return 0, err
		}
		total += d
	}
	return total, nil
}
