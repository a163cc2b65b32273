package report

import (
	"culvert/bench/matrix"
	"culvert/bench/measure"
)

// Reached is a goal that was measured.
type Reached struct {
	Goal
	Span
	// Cost is the same in CPU seconds per GB, where there is such a figure.
	Cost Span
}

// Span is a figure and how sure it is.
type Span struct {
	Median, Low, High float64
	// Measured is false where a subject was not there.
	Measured bool
}

func spanOf(s measure.Sample) Span {
	low, high := s.Interval()
	return Span{Median: s.Median(), Low: low, High: high, Measured: len(s) > 0}
}

// slack is how far from the target the bad end of the interval may be.
const slack = 0.85

// reaches: the median does, and the bad end of its interval nearly.
func (s Span) reaches(g Goal) bool {
	if g.Most {
		return s.Median <= g.Target && s.High <= g.Target/slack
	}
	return s.Median >= g.Target && s.Low >= g.Target*slack
}

// Verdict is what became of a goal.
type Verdict string

// Verdicts.
const (
	Holds       Verdict = "holds"
	HoldsByCost Verdict = "holds by CPU s/GB" // wall clock is a tie
	Fails       Verdict = "no"
	NotMeasured Verdict = "not measured"
)

// Verdict says whether the goal is reached. The target inside of the interval is
// a tie: what the machine did in the meantime decides who is faster. Processor
// time knows better then.
func (r Reached) Verdict() Verdict {
	tie := r.Low < r.Target && r.Target <= r.High
	switch {
	case !r.Measured:
		return NotMeasured
	case r.reaches(r.Goal):
		return Holds
	case tie && r.Cost.Measured && r.Cost.reaches(r.Goal):
		return HoldsByCost
	}
	return Fails
}

// Reach measures goals against results.
func Reach(r *matrix.Results, goals []Goal) []Reached {
	var out []Reached
	for _, g := range goals {
		reached := Reached{Goal: g, Span: spanOf(g.figure.sample(r))}
		if g.cost != nil {
			reached.Cost = spanOf(g.cost.sample(r))
		}
		out = append(out, reached)
	}
	return out
}
