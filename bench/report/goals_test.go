package report

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"culvert/bench/matrix"
	"culvert/bench/measure"
	"culvert/bench/subject"
)

// results are of subjects that all have the same figures but for one.
func results(odd string, by float64) *matrix.Results {
	r := &matrix.Results{Rounds: 7, Loads: Loads()}
	figures := []matrix.Figure{
		matrix.Throughput, matrix.Cost, matrix.Rate, matrix.P50, matrix.P99, matrix.Connected, matrix.CostEach,
		matrix.Answered, matrix.Flows, matrix.Pipes, matrix.PerFlow("culvert"), matrix.PerFlow("gateway"),
	}
	for _, s := range subject.All(nil) {
		m := matrix.Measured{Name: s.Name, Group: string(s.Group), Cells: map[string]matrix.Cell{}}
		v := 1.0
		if s.Name == odd {
			v = by
		}
		for _, l := range r.Loads {
			if !s.Carries(l) {
				continue
			}
			c := matrix.Cell{}
			for _, f := range figures {
				c[f] = slices.Repeat(measure.Sample{v}, r.Rounds)
			}
			m.Cells[l.String()] = c
		}
		r.Subjects = append(r.Subjects, m)
	}
	return r
}

// Each goal is of cells that are measured, and those alone are enough.
func TestGoalsAreMeasured(t *testing.T) {
	all := results("", 1)
	goals := Reach(all, Goals())
	if len(goals) < 50 {
		t.Fatalf("%d goals", len(goals))
	}
	for _, c := range Orientation() {
		i := slices.IndexFunc(all.Subjects, func(s matrix.Measured) bool { return s.Name == c[0] })
		if i < 0 || all.Subjects[i].Cells[c[1]] == nil {
			t.Errorf("%s is not measured", c)
		}
	}
	needed := map[[2]string]bool{}
	for _, g := range Goals() {
		for _, c := range g.Cells() {
			needed[c] = true
		}
	}
	for _, s := range all.Subjects {
		maps.DeleteFunc(s.Cells, func(l string, _ matrix.Cell) bool { return !needed[[2]string{s.Name, l}] })
	}
	for i, r := range Reach(all, Goals()) {
		if !goals[i].Measured || !r.Measured {
			t.Errorf("%s: not measured", r.Text)
		}
	}
}

// find is a goal that was measured; of several of that text the first.
func find(t *testing.T, all []Reached, text string) Reached {
	t.Helper()
	for _, r := range all {
		if r.Text == text {
			return r
		}
	}
	t.Fatalf("no goal is %q", text)
	return Reached{}
}

func TestGoalsHold(t *testing.T) {
	for _, tt := range []struct {
		text, odd string
		by        float64
		want      Verdict
	}{
		{"culvert, TUN / tun2socks, direct, down", tun, 5.1, Holds},
		{"culvert, TUN / tun2socks, direct, down", tun, 5, Holds},
		{"culvert, TUN / tun2socks, direct, down", tun, 4.9, Fails},
		{"culvert, TUN / the best Go peer, up × 8", tun, 1.2, Holds},
		{"culvert, TUN / the best Go peer, up × 8", "sing-box, system", 1.1, Fails},
		{"culvert, TUN, CPU s/GB, up", tun, 1.9, Holds},
		{"culvert, TUN, CPU s/GB, up", tun, 2, Fails},
		{"the best peer / culvert, TUN, ping-pong p50", "pasta", 0.5, Fails},
		{"the best peer / culvert, TUN, ping-pong p50", tun, 0.5, Holds},
		{"culvert, whole pipeline / bare relay, CPU s/GB, down", pipeline, 1.04, Holds},
		{"culvert, whole pipeline / bare relay, CPU s/GB, down", pipeline, 1.06, Fails},
		{"culvert, HTTP/2 CONNECT, KB per idle flow, gateway", plainH2, 12_000, Holds},
		{"culvert, HTTP/2 CONNECT, KB per idle flow, gateway", plainH2, 13_000, Fails},
		{"culvert, HTTP/1.1 CONNECT, ordinary user, ends of pipes that idle flows hold", ordinaryUser, 0, Holds},
		{"culvert, HTTP/1.1 CONNECT, ordinary user, ends of pipes that idle flows hold", ordinaryUser, 2, Fails},
		{"culvert, TUN, connect p50, beyond veth's and a round trip, µs", tun, 302, Holds},
		{"culvert, TUN, connect p50, beyond veth's and a round trip, µs", tun, 303, Fails},
		{"culvert, TUN, burst of 1 KiB × 3000, ms", tun, 1001, Fails},
	} {
		if got := find(t, Reach(results(tt.odd, tt.by), Goals()), tt.text).Verdict(); got != tt.want {
			t.Errorf("%s, where %s is %v: %s, want %s", tt.text, tt.odd, tt.by, got, tt.want)
		}
	}
}

// The median and the bad end of the interval decide, and processor time where
// the interval is on both sides of the target.
func TestVerdict(t *testing.T) {
	least, most := Goal{Target: 1}, Goal{Target: 2, Most: true}
	cheap, dear := Span{1.2, 1.1, 1.3, true}, Span{0.9, 0.8, 1.3, true}
	for _, tt := range []struct {
		goal       Goal
		span, cost Span
		want       Verdict
	}{
		{least, Span{}, cheap, NotMeasured},
		{least, Span{1.1, 1.05, 1.2, true}, dear, Holds},
		{least, Span{1.1, 0.86, 1.2, true}, dear, Holds},
		{least, Span{1.1, 0.84, 1.2, true}, Span{}, Fails}, // it reaches too far below
		{least, Span{1.1, 0.84, 1.2, true}, dear, Fails},
		{least, Span{1.1, 0.84, 1.2, true}, cheap, HoldsByCost},
		{least, Span{0.9, 0.7, 1.0, true}, cheap, HoldsByCost},
		{least, Span{0.9, 0.7, 0.99, true}, cheap, Fails}, // no tie
		{least, Span{0.9, 0.7, 1.0, true}, Span{1.2, 0.84, 1.3, true}, Fails},
		{most, Span{1.8, 1.7, 2.3, true}, Span{}, Holds},
		{most, Span{1.8, 1.7, 2.5, true}, Span{}, Fails},
		{most, Span{2.1, 1.9, 2.2, true}, Span{}, Fails},
	} {
		if got := (Reached{Goal: tt.goal, Span: tt.span, Cost: tt.cost}).Verdict(); got != tt.want {
			t.Errorf("%+v, costs %+v, wants %s: %s, want %s", tt.span, tt.cost, tt.goal.bound(), got, tt.want)
		}
	}
}

// Throughput is compared as culvert's over the other's, costs the other way
// around, so that more is better in both.
func TestCostDecides(t *testing.T) {
	r := results("", 1)
	for _, s := range r.Subjects {
		if c := s.Cells["down"]; s.Name == plainH1 {
			c[matrix.Throughput] = measure.Sample{0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1}
			c[matrix.Cost] = slices.Repeat(measure.Sample{0.5}, r.Rounds)
		}
	}
	const text = "culvert, HTTP/1.1 CONNECT / two splice relays, down"
	if got := find(t, Reach(r, Goals()), text); got.Cost.Median != 2 || got.Verdict() != HoldsByCost {
		t.Errorf("at half the cost: %+v, %s", got, got.Verdict())
	}
	for _, s := range r.Subjects {
		if s.Name == plainH1 {
			s.Cells["down"][matrix.Cost] = slices.Repeat(measure.Sample{2}, r.Rounds)
		}
	}
	if got := find(t, Reach(r, Goals()), text); got.Cost.Median != 0.5 || got.Verdict() != Fails {
		t.Errorf("at twice the cost: %+v, %s", got, got.Verdict())
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
		if g.Group == subject.Requests || len(in(r, g.Group)) == 0 {
			continue
		}
		wellFormed(t, dir+"/performance-"+string(g.Group)+".svg")
	}
}
