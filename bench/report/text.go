package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"culvert/bench/load"
	"culvert/bench/matrix"
)

// Text writes medians, a line for each subject and load.
func Text(out io.Writer, r *matrix.Results) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "medians of %d rounds\n", r.Rounds)
	for _, s := range r.Subjects {
		for _, l := range r.Loads {
			if c := s.Cells[l.String()]; len(c) > 0 {
				fmt.Fprintf(w, "%s\t%v\t%s\n", s.Name, l, words(c, l.Kind))
			}
		}
		if len(s.Resident) > 0 {
			fmt.Fprintf(w, "%s\tmemory, MB\t%s\n", s.Name, memory(s))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, s := range r.Subjects {
		for _, where := range slices.Sorted(maps.Keys(s.Failed)) {
			fmt.Fprintf(out, "%s, %s: failed: %s\n", s.Name, cmp.Or(where, "at the start"), s.Failed[where])
		}
	}
	return reachText(out, Reach(r, Goals()))
}

// reachText says of each goal that was measured how far it is reached.
func reachText(out io.Writer, all []Reached) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nreach\tmedian\t90 %\ttarget\t\tby CPU s/GB")
	for _, r := range all {
		if !r.Measured {
			continue
		}
		verdict, cost := string(r.Verdict()), ""
		if r.Further {
			verdict += " (further)"
		}
		if r.Cost.Measured {
			cost = fmt.Sprintf("%.2f", r.Cost.Median)
		}
		fmt.Fprintf(w, "%s\t%.2f\t%.2f–%.2f\t%s\t%s\t%s\n", r.Text, r.Median, r.Low, r.High, r.bound(), verdict, cost)
	}
	return w.Flush()
}

// words are a cell's figures.
func words(c matrix.Cell, k load.Kind) string {
	m := func(f matrix.Figure) float64 { return c[f].Median() }
	switch k {
	case load.Down, load.Up:
		return fmt.Sprintf("%.3f Gb/s (%.2f CPU s/GB)", m(matrix.Throughput), m(matrix.Cost))
	case load.Idle:
		var all []string
		for _, f := range slices.Sorted(maps.Keys(c)) {
			all = append(all, fmt.Sprintf("%s %.0f", f, m(f)))
		}
		return strings.Join(all, ", ")
	case load.Burst:
		return fmt.Sprintf("%.0f ms (%.2f CPU ms each)", m(matrix.Answered), m(matrix.CostEach))
	case load.Requests:
		return fmt.Sprintf("%.0f/s (%.2f CPU ms each), p50 %.0f, p99 %.0f µs, %.2f Gb/s (%.2f CPU s/GB)",
			m(matrix.Rate), m(matrix.CostEach), m(matrix.P50), m(matrix.P99), m(matrix.Throughput), m(matrix.Cost))
	default:
		return fmt.Sprintf("%.0f/s (%.2f CPU ms each), p50 %.0f, p99 %.0f µs, connect p50 %.0f µs",
			m(matrix.Rate), m(matrix.CostEach), m(matrix.P50), m(matrix.P99), m(matrix.Connected))
	}
}
