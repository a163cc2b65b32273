package report

import (
	"fmt"
	"math"

	"culvert/bench/load"
	"culvert/bench/matrix"
	"culvert/bench/measure"
)

// Goal is something that culvert is to reach.
type Goal struct {
	// Text says what: a subject, and what it is compared with.
	Text string
	// Target is the least ratio, or the largest figure where Most is set.
	Target float64
	Most   bool
	// measure is the figure, a value a round; nil where it was not measured.
	measure func(*matrix.Results) measure.Sample
}

// Reached is a goal that was measured.
type Reached struct {
	Goal
	Median, Low, High float64
	// Measured is false where a subject was not there.
	Measured bool
}

// slack is how far from the target the bad end of the interval may be.
const slack = 0.85

// Holds reports whether the median reaches the target and the bad end of its
// interval nearly does.
func (r Reached) Holds() bool {
	if r.Most {
		return r.Median <= r.Target && r.High <= r.Target/slack
	}
	return r.Median >= r.Target && r.Low >= r.Target*slack
}

// Reach measures goals against results.
func Reach(r *matrix.Results, goals []Goal) []Reached {
	var out []Reached
	for _, g := range goals {
		s := g.measure(r)
		low, high := s.Interval()
		out = append(out, Reached{Goal: g, Median: s.Median(), Low: low, High: high, Measured: len(s) > 0})
	}
	return out
}

// columns are the four in which throughput is compared.
var columns = []load.Load{
	{Kind: load.Down, Streams: 1}, {Kind: load.Up, Streams: 1}, {Kind: load.Down, Streams: 8}, {Kind: load.Up, Streams: 8},
}

// sample is a subject's figure under a load.
func sample(r *matrix.Results, subject string, l load.Load, f matrix.Figure) measure.Sample {
	for _, s := range r.Subjects {
		if s.Name == subject {
			return s.Cells[l.String()][f]
		}
	}
	return nil
}

// ratio is that of two subjects, round by round, as far as both went.
func ratio(r *matrix.Results, a, b string, l load.Load, f matrix.Figure) measure.Sample {
	return over(sample(r, a, l, f), sample(r, b, l, f))
}

// atLeast are goals of throughput, one for each load.
func atLeast(target float64, subject, than string, loads ...load.Load) (goals []Goal) {
	for _, l := range loads {
		goals = append(goals, Goal{
			Text: fmt.Sprintf("%s / %s, %v", subject, than, l), Target: target,
			measure: func(r *matrix.Results) measure.Sample { return ratio(r, subject, than, l, matrix.Throughput) },
		})
	}
	return goals
}

// best is, round by round, the largest figure of several subjects.
func best(r *matrix.Results, subjects []string, l load.Load, f matrix.Figure) measure.Sample {
	var out measure.Sample
	for round := range r.Rounds {
		m := math.Inf(-1)
		for _, s := range subjects {
			if x := sample(r, s, l, f); round < len(x) {
				m = max(m, x[round])
			}
		}
		if math.IsInf(m, -1) {
			return out
		}
		out = append(out, m)
	}
	return out
}
