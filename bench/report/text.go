package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"culvert/bench/load"
	"culvert/bench/matrix"
)

// Text writes a table of medians.
func Text(out io.Writer, r *matrix.Results) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "medians of %d rounds; throughput in Gb/s (CPU s/GB); connects per second (CPU ms each), connect p50; ping-pong p50/p99\n", r.Rounds)
	fmt.Fprint(w, "subject")
	for _, l := range r.Loads {
		fmt.Fprintf(w, "\t%v", l)
	}
	fmt.Fprintln(w, "\tMB")
	for _, s := range r.Subjects {
		fmt.Fprint(w, s.Name)
		for _, l := range r.Loads {
			fmt.Fprintf(w, "\t%s", cell(s.Cells[l.String()], l.Kind))
		}
		fmt.Fprintf(w, "\t%.0f\n", s.Resident.Median()/1e6)
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
	fmt.Fprintln(w, "\nreach\tmedian\t90 %\ttarget\t")
	for _, r := range all {
		if !r.Measured {
			continue
		}
		bound, verdict := "≥", "no"
		if r.Most {
			bound = "≤"
		}
		if r.Holds() {
			verdict = "holds"
		}
		fmt.Fprintf(w, "%s\t%.2f\t%.2f–%.2f\t%s %.2f\t%s\n", r.Text, r.Median, r.Low, r.High, bound, r.Target, verdict)
	}
	return w.Flush()
}

func cell(c matrix.Cell, k load.Kind) string {
	if len(c) == 0 {
		return "–"
	}
	m := func(f matrix.Figure) float64 { return c[f].Median() }
	switch k {
	case load.Down, load.Up:
		return fmt.Sprintf("%.2f (%.2f)", m(matrix.Throughput), m(matrix.Cost))
	case load.Connect:
		return fmt.Sprintf("%.0f (%.2f) %.0f µs", m(matrix.Rate), m(matrix.CostEach), m(matrix.Connected))
	default:
		return fmt.Sprintf("%.0f/%.0f µs", m(matrix.P50), m(matrix.P99))
	}
}
