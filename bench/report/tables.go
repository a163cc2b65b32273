package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"culvert/bench/load"
	"culvert/bench/matrix"
	"culvert/bench/measure"
)

// measured reports whether one of the subjects was measured under a load.
func measured(subjects []matrix.Measured, l load.Load) bool {
	return slices.ContainsFunc(subjects, func(s matrix.Measured) bool { return len(s.Cells[l.String()]) > 0 })
}

// table writes a head, and a row for each subject that has anything to say.
func table(w io.Writer, head []string, subjects []matrix.Measured, row func(matrix.Measured) []string) {
	fmt.Fprintf(w, "\n| %s |\n|---|%s\n", strings.Join(head, " | "), strings.Repeat("---:|", len(head)-1))
	for _, s := range subjects {
		if cells := row(s); slices.ContainsFunc(cells, func(c string) bool { return c != none }) {
			fmt.Fprintf(w, "| %s | %s |\n", s.Name, strings.Join(cells, " | "))
		}
	}
}

// throughputTable is Gb/s, with what a gigabyte costs in processor time.
func throughputTable(w io.Writer, subjects []matrix.Measured) {
	loads := slices.DeleteFunc(slices.Concat(columns, many, busy), func(l load.Load) bool { return !measured(subjects, l) })
	head := []string{"Gb/s (CPU s/GB)"}
	for _, l := range loads {
		head = append(head, l.String())
	}
	table(w, append(head, "MB"), subjects, func(s matrix.Measured) (row []string) {
		for _, l := range loads {
			row = append(row, bulk(s.Cells[l.String()]))
		}
		return append(row, memory(s))
	})
}

func bulk(c matrix.Cell) string {
	if len(c[matrix.Throughput]) == 0 {
		return none
	}
	return fmt.Sprintf("%s (%s)", interval(c[matrix.Throughput], "%.2f"), interval(c[matrix.Cost], "%.2f"))
}

// memory is that of each process.
func memory(s matrix.Measured) string {
	var all []string
	for _, m := range s.Resident {
		all = append(all, fmt.Sprintf("%s %.0f", m.Process, m.Bytes.Median()/1e6))
	}
	return cmp.Or(strings.Join(all, ", "), none)
}

// costTable is what each process of those takes that have several.
func costTable(w io.Writer, subjects []matrix.Measured) {
	loads := slices.DeleteFunc(slices.Concat(columns, many, busy), func(l load.Load) bool { return !measured(subjects, l) })
	head := []string{"CPU s/GB of each"}
	for _, l := range loads {
		head = append(head, l.String())
	}
	var rows []matrix.Measured
	for _, s := range subjects {
		if len(s.Resident) < 2 {
			continue
		}
		for _, m := range s.Resident {
			rows = append(rows, matrix.Measured{Name: s.Name + ": " + m.Process, Cells: s.Cells, Resident: []matrix.Memory{m}})
		}
	}
	if len(rows) == 0 {
		return
	}
	table(w, head, rows, func(s matrix.Measured) (row []string) {
		for _, l := range loads {
			row = append(row, interval(s.Cells[l.String()][matrix.CostOf(s.Resident[0].Process)], "%.2f"))
		}
		return row
	})
}

// turnsTable is what is counted in turns.
func turnsTable(w io.Writer, subjects []matrix.Measured) {
	if !measured(subjects, connects) && !measured(subjects, alone) && !measured(subjects, pingPong) {
		return
	}
	head := []string{"", "connections per second", "CPU ms each", "connect p50 µs, one at a time", "ping-pong p50 µs", "p99 µs"}
	table(w, head, subjects, func(s matrix.Measured) []string {
		return []string{
			interval(s.Cells[connects.String()][matrix.Rate], "%.0f"), interval(s.Cells[connects.String()][matrix.CostEach], "%.2f"),
			interval(s.Cells[alone.String()][matrix.Connected], "%.0f"),
			interval(s.Cells[pingPong.String()][matrix.P50], "%.0f"), interval(s.Cells[pingPong.String()][matrix.P99], "%.0f"),
		}
	})
}

// flowsTable is of flows that are many and do little.
func flowsTable(w io.Writer, subjects []matrix.Measured) {
	if !measured(subjects, idle) && !measured(subjects, burst) {
		return
	}
	head := []string{"", "idle flows", "KB per flow", "ends of pipes they hold", fmt.Sprintf("%v: ms until all are answered", burst)}
	table(w, head, subjects, func(s matrix.Measured) []string {
		c := s.Cells[idle.String()]
		return []string{
			interval(c[matrix.Flows], "%.0f"), perFlow(s), interval(c[matrix.Pipes], "%.0f"),
			interval(s.Cells[burst.String()][matrix.Answered], "%.0f"),
		}
	})
}

// perFlow is what an idle flow takes of each process.
func perFlow(s matrix.Measured) string {
	var all []string
	for f, sample := range s.Cells[idle.String()] {
		if process, ok := strings.CutPrefix(string(f), string(matrix.PerFlow(""))); ok {
			all = append(all, process+" "+interval(sample.Scaled(1e-3), "%.1f"))
		}
	}
	slices.Sort(all)
	return cmp.Or(strings.Join(all, ", "), none)
}

// requestsTable is of those who pass on requests.
func requestsTable(w io.Writer, subjects []matrix.Measured) {
	small, large := requests[0], requests[1]
	head := []string{fmt.Sprintf("%v", small), "per second", "CPU ms each", "p50 µs", "p99 µs", fmt.Sprintf("%v: Gb/s (CPU s/GB)", large), "MB"}
	table(w, head, subjects, func(s matrix.Measured) []string {
		c := s.Cells[small.String()]
		return []string{
			interval(c[matrix.Rate], "%.0f"), interval(c[matrix.CostEach], "%.2f"), interval(c[matrix.P50], "%.0f"), interval(c[matrix.P99], "%.0f"),
			bulk(s.Cells[large.String()]), memory(s),
		}
	})
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

// none is where nothing was measured.
const none = "–"

// interval is a median and its interval.
func interval(s measure.Sample, format string) string {
	if len(s) == 0 {
		return none
	}
	low, high := s.Interval()
	return fmt.Sprintf(format+" <small>"+format+"–"+format+"</small>", s.Median(), low, high)
}
