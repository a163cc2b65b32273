package main

import (
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/bench/load"
	"culvert/bench/matrix"
	"culvert/bench/report"
	"culvert/bench/subject"
	"culvert/test/leak"
	"culvert/test/need"
	"culvert/test/program"
)

// TestMain is also what a run starts in its namespaces: this binary is `bench`
// where it is asked to be.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{"origin", "relay", "load"}, os.Args[1]) {
		main()
		return
	}
	leak.Main(m)
}

// tried are subjects of each group, small as they are.
var tried = []string{
	"veth", "bare relay", "culvert, whole pipeline", "culvert, TUN", "culvert, HTTP/1.1 CONNECT, ordinary user",
	"requests, culvert pair, HTTP/2", "direct TCP, impaired link",
}

// A run measures each subject under each load that it carries, and there is a
// page of it. How much it measures is nothing to test.
func TestRun(t *testing.T) {
	need.Long(t)
	need.Root(t)
	need.TUN(t)
	culvert, err := program.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	commands := subject.Commands{"culvert": culvert, "bench": self}
	subjects := slices.DeleteFunc(subject.All(commands), func(s subject.Subject) bool { return !slices.Contains(tried, s.Name) })
	loads := load.WithDuration([]load.Load{
		{Kind: load.Down, Streams: 8}, {Kind: load.Connect, Streams: 1}, {Kind: load.Burst, Streams: 30, Size: 1 << 10},
		{Kind: load.Idle}, {Kind: load.Requests, Streams: 2, Size: 1 << 10},
	}, 20*time.Millisecond)
	var progress strings.Builder
	results, err := matrix.Plan{
		Subjects: subjects, Loads: loads, Rounds: 1, Commands: commands, Progress: &progress,
		Carries: subject.Subject.Carries, Descriptors: 2100, // for a hundred flows at most
	}.Run(t.Context())
	if err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	t.Log(progress.String())
	if len(results.Subjects) != len(tried) {
		t.Errorf("%d subjects, want %d", len(results.Subjects), len(tried))
	}
	for i, s := range results.Subjects {
		for where, failed := range s.Failed {
			t.Errorf("%s, %s: %s", s.Name, where, failed)
		}
		for _, l := range loads {
			if !subjects[i].Carries(l) {
				continue
			}
			c := s.Cells[l.String()]
			main := map[load.Kind]matrix.Figure{
				load.Down: matrix.Throughput, load.Connect: matrix.Connected, load.Burst: matrix.Answered,
				load.Idle: matrix.Flows, load.Requests: matrix.Rate,
			}[l.Kind]
			if len(c[main]) != 1 || c[main][0] <= 0 {
				t.Errorf("%s, %v: %s is %v", s.Name, l, main, c[main])
			}
		}
	}
	if err := report.Text(io.Discard, results); err != nil {
		t.Error(err)
	}
	if err := report.Page(t.TempDir()+"/page.md", results, report.Machine{}); err != nil {
		t.Error(err)
	}
}

// What is not there is said before anything is measured, with where it comes
// from.
func TestMissing(t *testing.T) {
	need.Root(t)
	culvert := t.TempDir() + "/culvert"
	if err := os.WriteFile(culvert, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	err := run(t.Context(), []string{"-culvert", culvert, "-peers", t.TempDir(), "-only", "tun2socks, direct|sing-box, system", "run"}, io.Discard)
	for _, want := range []string{"make bench/out/tun2socks", "make bench/out/sing-box", "-without-missing"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	for _, args := range [][]string{
		{"-culvert", t.TempDir() + "/none", "run"}, {"-culvert", culvert, "-only", "nobody", "run"}, {"-culvert", culvert, "-load", "(", "run"},
		{"-culvert", culvert, "-baseline", t.TempDir() + "/none.json", "check"}, {"nothing"}, {},
	} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%q is measured", args)
		}
	}
}

// A run is of everything, of what goals are about, or of what is asked for.
func TestChoice(t *testing.T) {
	for _, tt := range []struct {
		options       options
		subject, load string
		want          bool
	}{
		{options{only: "goals"}, "culvert, TUN", "down", true},
		{options{only: "goals"}, "culvert, TUN", "down × 64", false},
		{options{only: "goals"}, "squid", "down", false},
		{options{only: "goals"}, "veth", "down", true},
		{options{only: "goals", load: "^up"}, "culvert, TUN", "down", false},
		{options{}, "squid", "down × 64", true},
		{options{only: "squid"}, "culvert, TUN", "down", false},
		{options{load: "idle"}, "culvert, TUN", "idle", true},
	} {
		chosen, err := tt.options.choice()
		if err != nil {
			t.Fatal(err)
		}
		if got := chosen(tt.subject, tt.load); got != tt.want {
			t.Errorf("%+v: %s, %s: %v", tt.options, tt.subject, tt.load, got)
		}
	}
}
