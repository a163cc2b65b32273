package stats

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strconv"
)

// quantiles are those of Envoy's histogram lines.
func quantiles() []float64 { return []float64{0, .25, .5, .75, .9, .95, .99, .995, .999, 1} }

// bounds are the upper bounds of the buckets Envoy shows by default.
func bounds() []float64 {
	return []float64{0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000,
		30000, 60000, 300000, 600000, 1800000, 3600000}
}

// WriteText writes Envoy's /stats: "name: value" lines by name, then the
// histograms.
func (s *Store) WriteText(w io.Writer, f Filter) error {
	numbers, histograms := s.read(f)
	var b bytes.Buffer
	for _, r := range numbers {
		fmt.Fprintf(&b, "%s: %d\n", r.name, r.value)
	}
	for _, r := range histograms {
		fmt.Fprintf(&b, "%s: ", r.name)
		r.histogram.writeText(&b, f.Buckets)
		b.WriteByte('\n')
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (h *Histogram) writeText(w *bytes.Buffer, as Buckets) {
	total := h.snapshot()
	interval := h.lastInterval()
	if total.count == 0 {
		w.WriteString("No recorded values")
		return
	}
	if as == Summary {
		for i, q := range quantiles() {
			fmt.Fprintf(w, "%sP%s(%s,%s)", space(i), number(100*q),
				number(interval.quantile(q)), number(total.quantile(q)))
		}
		return
	}
	var before, intervalBefore uint64
	for i, limit := range bounds() {
		n, m := total.below(limit), interval.below(limit)
		fmt.Fprintf(w, "%sB%s(%d,%d)", space(i), number(limit), m-intervalBefore, n-before)
		if as == Disjoint {
			before, intervalBefore = n, m
		}
	}
}

func space(i int) string {
	if i == 0 {
		return ""
	}
	return " "
}

// number prints as C's %g does: six significant digits.
func number(v float64) string {
	if math.IsNaN(v) {
		return "nan"
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}
