package report

import (
	"cmp"
	_ "embed"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"culvert/bench/load"
	"culvert/bench/matrix"
	"culvert/bench/measure"
	"culvert/bench/subject"
)

// method and notes are the parts of the page that are written by hand.
var (
	//go:embed method.md
	method string
	//go:embed notes.md
	notes string
)

// groups are the page's sections.
var groups = []struct {
	subject.Group
	title, about string
}{
	{subject.Relay, "One relay", "An application connects to one relay, which connects to the origin. `veth` is no relay at all."},
	{subject.Capture, "Capturing", "Packets of a program, taken from a device and carried on as connections."},
	{subject.Tunnel, "A pair with a tunnel between", "An application connects to the first of a pair, the second connects to the origin; between the two goes what the name says."},
	{subject.Whole, "Capturing into a tunnel", "Packets of a program, through a tunnel, out at a gateway."},
}

// Page writes a page to path, with charts beside it.
func Page(path string, r *matrix.Results, m Machine) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Performance\n\n<!-- Written by `make bench`; what is not measured comes from bench/report/*.md. -->\n\n")
	fmt.Fprintf(&b, "Medians of %d rounds in turns, with the interval that holds the median with at least 90 %%.\n\n%s\n", r.Rounds, m.Markdown())
	reachTable(&b, Reach(r, Goals()))
	for _, g := range groups {
		subjects := in(r, g.Group)
		if len(subjects) == 0 {
			continue
		}
		name := fmt.Sprintf("performance-%s.svg", g.Group)
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), name), []byte(Chart(subjects)), 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n![throughput of eight streams](%s)\n\n", g.title, g.about, name)
		throughputTable(&b, subjects)
		turnsTable(&b, r, subjects)
		failures(&b, subjects)
	}
	fmt.Fprintf(&b, "\n%s\n%s", method, notes)
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

func in(r *matrix.Results, g subject.Group) (out []matrix.Measured) {
	for _, s := range r.Subjects {
		if s.Group == string(g) {
			out = append(out, s)
		}
	}
	return out
}

func reachTable(w io.Writer, all []Reached) {
	fmt.Fprint(w, "\n## How far it reaches\n\nA line holds when the median reaches the target and the bad end of the interval is within 15 % of it.\n\n")
	fmt.Fprint(w, "| what | median | 90 % | target | |\n|---|---:|---:|---:|---|\n")
	for _, r := range all {
		bound, verdict := "≥", "**no**"
		if r.Most {
			bound = "≤"
		}
		if r.Holds() {
			verdict = "holds"
		}
		if !r.Measured {
			fmt.Fprintf(w, "| %s | | | %s %g | not measured |\n", r.Text, bound, r.Target)
			continue
		}
		fmt.Fprintf(w, "| %s | %.2f | %.2f–%.2f | %s %g | %s |\n", r.Text, r.Median, r.Low, r.High, bound, r.Target, verdict)
	}
}

// throughputTable is Gb/s, with what a gigabyte costs in processor time.
func throughputTable(w io.Writer, subjects []matrix.Measured) {
	fmt.Fprint(w, "| Gb/s (CPU s/GB) | ")
	for _, l := range columns {
		fmt.Fprintf(w, "%v | ", l)
	}
	fmt.Fprintf(w, "MB |\n|---|%s---:|\n", strings.Repeat("---:|", len(columns)))
	for _, s := range subjects {
		fmt.Fprintf(w, "| %s | ", s.Name)
		for _, l := range columns {
			c := s.Cells[l.String()]
			fmt.Fprintf(w, "%s (%s) | ", figure(c[matrix.Throughput], "%.2f"), figure(c[matrix.Cost], "%.2f"))
		}
		fmt.Fprintf(w, "%s |\n", figure(s.Resident.Scaled(1e-6), "%.0f"))
	}
}

// turnsTable is what is counted in turns.
func turnsTable(w io.Writer, r *matrix.Results, subjects []matrix.Measured) {
	fmt.Fprint(w, "\n| | connections per second | CPU ms each | connect p50 µs | ping-pong p50 µs | p99 µs |\n|---|---:|---:|---:|---:|---:|\n")
	for _, s := range subjects {
		fmt.Fprintf(w, "| %s |", s.Name)
		for _, l := range r.Loads {
			c := s.Cells[l.String()]
			switch l.Kind {
			case load.Connect:
				fmt.Fprintf(w, " %s | %s |", figure(c[matrix.Rate], "%.0f"), figure(c[matrix.CostEach], "%.2f"))
			case load.PingPong:
				fmt.Fprintf(w, " %s | %s | %s |", figure(c[matrix.Connected], "%.0f"), figure(c[matrix.P50], "%.0f"), figure(c[matrix.P99], "%.0f"))
			}
		}
		fmt.Fprintln(w)
	}
}

// failures says which subjects did not carry which load, in a word of theirs.
func failures(w io.Writer, subjects []matrix.Measured) {
	for _, s := range subjects {
		for _, where := range slices.Sorted(maps.Keys(s.Failed)) {
			said := strings.Split(strings.TrimSpace(s.Failed[where]), "\n")
			fmt.Fprintf(w, "\n%s did not carry %s: `%s`\n", s.Name, cmp.Or(where, "anything"), said[len(said)-1])
		}
	}
}

// figure is a median and its interval.
func figure(s measure.Sample, format string) string {
	if len(s) == 0 {
		return "–"
	}
	low, high := s.Interval()
	return fmt.Sprintf(format+" <small>"+format+"–"+format+"</small>", s.Median(), low, high)
}
