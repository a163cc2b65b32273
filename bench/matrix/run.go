package matrix

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"culvert/bench/load"
	"culvert/bench/subject"
	"culvert/bench/world"
)

// Plan is what to measure.
type Plan struct {
	Subjects []subject.Subject
	Loads    []load.Load
	Rounds   int
	// Carries says which subject is measured under which load.
	Carries func(subject.Subject, load.Load) bool
	// Descriptors is how many a process may have, for idle flows; 0: as many as
	// this one.
	Descriptors int
	Commands    subject.Commands
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
			if p.Carries(s, l) {
				m.Cells[l.String()] = Cell{}
			}
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
