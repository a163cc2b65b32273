package report

import (
	"slices"
	"strings"
	"testing"

	"culvert/bench/matrix"
	"culvert/bench/measure"
	"culvert/bench/subject"
)

// results are of subjects that all have the same figures but for one.
func results(odd string, by float64) *matrix.Results {
	r := &matrix.Results{Rounds: 7, Loads: append(slices.Clone(columns), connect)}
	for _, s := range slices.Concat(subject.Baselines(), subject.Culvert(), subject.Capturing(nil), subject.Proxying(nil)) {
		m := matrix.Measured{Name: s.Name, Group: string(s.Group), Cells: map[string]matrix.Cell{}}
		for _, l := range r.Loads {
			c := matrix.Cell{}
			for _, f := range []matrix.Figure{matrix.Throughput, matrix.Cost, matrix.Rate, matrix.P50, matrix.P99, matrix.Connected, matrix.CostEach} {
				v := 1.0
				if s.Name == odd {
					v = by
				}
				c[f] = slices.Repeat(measure.Sample{v}, r.Rounds)
			}
			m.Cells[l.String()] = c
		}
		r.Subjects = append(r.Subjects, m)
	}
	return r
}

// Each goal is measured where all subjects are, and each subject that a goal
// needs is among those that are measured for the goals.
func TestGoalsAreMeasured(t *testing.T) {
	all := results("", 1)
	goals := Reach(all, Goals())
	if len(goals) < 30 {
		t.Fatalf("%d goals", len(goals))
	}
	named := *all
	named.Subjects = slices.DeleteFunc(slices.Clone(all.Subjects), func(s matrix.Measured) bool { return !slices.Contains(Named(), s.Name) })
	if len(named.Subjects) != len(Named()) {
		t.Errorf("%d of the %d that are named are there", len(named.Subjects), len(Named()))
	}
	for i, r := range Reach(&named, Goals()) {
		if !goals[i].Measured || !r.Measured {
			t.Errorf("%s: not measured", r.Text)
		}
	}
}

func TestGoalsHold(t *testing.T) {
	const text = "culvert, TUN / tun2socks, direct, down"
	for _, tt := range []struct {
		by   float64
		want bool
	}{{5.1, true}, {5, true}, {4.9, false}, {1, false}} {
		for _, r := range Reach(results(tun, tt.by), Goals()) {
			if r.Text == text && r.Holds() != tt.want {
				t.Errorf("%s is %v: holds %v", text, tt.by, r.Holds())
			}
		}
	}
	wide := Reached{Goal: Goal{Target: 1}, Median: 1.1, Low: 0.8, High: 1.2}
	if wide.Holds() {
		t.Error("an interval that reaches far below the target holds")
	}
	most := Reached{Goal: Goal{Target: 1.9, Most: true}, Median: 1.8, Low: 1.7, High: 2.5}
	if most.Holds() {
		t.Error("an interval that reaches far beyond a bound holds")
	}
}

// A page has each subject and each goal, and charts that are well-formed.
func TestPage(t *testing.T) {
	r := results("veth", 2)
	dir := t.TempDir()
	if err := Page(dir+"/performance.md", r, Machine{Lines: []string{"Linux: 6.1"}}); err != nil {
		t.Fatal(err)
	}
	page := read(t, dir+"/performance.md")
	for _, s := range r.Subjects {
		if !strings.Contains(page, "| "+s.Name+" |") {
			t.Errorf("%s is not in the page", s.Name)
		}
	}
	for _, g := range Goals() {
		if !strings.Contains(page, "| "+g.Text+" |") {
			t.Errorf("%s is not in the page", g.Text)
		}
	}
	for _, g := range groups {
		wellFormed(t, dir+"/performance-"+string(g.Group)+".svg")
	}
}
