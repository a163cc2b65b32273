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
	// Target is the least figure, or the largest where Most is set.
	Target float64
	Most   bool
	// Comparable figures are about the same on every machine: ratios, and memory.
	Comparable bool
	// Further goals are beyond what was set out to reach.
	Further bool

	figure figure
	// cost is the same in CPU seconds per GB, which decides where wall clock is a
	// tie; nil: there is none.
	cost *figure
}

// figure is computed, round by round, from cells.
type figure struct {
	cells []cellOf
	of    func(round []float64) float64
}

// cellOf is a figure of a subject under a load.
type cellOf struct {
	subject string
	load    load.Load
	figure  matrix.Figure
}

// Cells are what a goal is computed from, as names of subjects and loads.
func (g Goal) Cells() (all [][2]string) {
	for _, c := range g.figure.cells {
		all = append(all, [2]string{c.subject, c.load.String()})
	}
	return all
}

// sample is a value for each round in which all cells were measured.
func (f figure) sample(r *matrix.Results) measure.Sample {
	samples := make([]measure.Sample, len(f.cells))
	rounds := math.MaxInt
	for i, c := range f.cells {
		samples[i] = sample(r, c.subject, c.load, c.figure)
		rounds = min(rounds, len(samples[i]))
	}
	var out measure.Sample
	values := make([]float64, len(f.cells))
	for round := range rounds {
		for i, s := range samples {
			values[i] = s[round]
		}
		out = append(out, f.of(values))
	}
	return out
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

// just is a figure by itself.
func just(subject string, l load.Load, f matrix.Figure) figure {
	return figure{cells: []cellOf{{subject, l, f}}, of: func(v []float64) float64 { return v[0] }}
}

// overBest is a subject's figure over the largest of several others'.
func overBest(subject string, others []string, l load.Load, f matrix.Figure) figure {
	return figure{cells: cells(subject, others, l, f), of: func(v []float64) float64 {
		best := v[1]
		for _, other := range v[2:] {
			best = max(best, other)
		}
		return v[0] / best
	}}
}

// underBest is the smallest of several others' figures over a subject's: of
// costs and times the smallest is the best.
func underBest(subject string, others []string, l load.Load, f matrix.Figure) figure {
	return figure{cells: cells(subject, others, l, f), of: func(v []float64) float64 {
		best := v[1]
		for _, other := range v[2:] {
			best = min(best, other)
		}
		return best / v[0]
	}}
}

func cells(subject string, others []string, l load.Load, f matrix.Figure) []cellOf {
	all := []cellOf{{subject, l, f}}
	for _, o := range others {
		all = append(all, cellOf{o, l, f})
	}
	return all
}

// atLeast are goals of throughput, one for each load: of the best of several
// others, if there are more than one.
func atLeast(target float64, subject string, than named, loads ...load.Load) (goals []Goal) {
	for _, l := range loads {
		cost := underBest(subject, than.subjects, l, matrix.Cost)
		goals = append(goals, Goal{
			Text: fmt.Sprintf("%s / %s, %v", subject, than.name, l), Target: target, Comparable: true,
			figure: overBest(subject, than.subjects, l, matrix.Throughput), cost: &cost,
		})
	}
	return goals
}

// named is one or several subjects to compare with.
type named struct {
	name     string
	subjects []string
}

func only(subject string) named { return named{subject, []string{subject}} }
