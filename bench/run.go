package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"

	"culvert/bench/load"
	"culvert/bench/matrix"
	"culvert/bench/report"
	"culvert/bench/subject"
)

// runMatrix measures what is chosen, prints tables, and writes the page and the
// baseline if it shall.
func runMatrix(ctx context.Context, out io.Writer, o options) error {
	commands, err := o.commands()
	if err != nil {
		return err
	}
	chosen, err := o.choice()
	if err != nil {
		return err
	}
	results, err := measureAll(ctx, o, commands, chosen)
	if err != nil {
		return err
	}
	if err := report.Text(out, results); err != nil || o.page == "" && o.baseline == "" {
		return err
	}
	machine := report.ThisMachine(o.culvert, []report.Peer{
		{Name: "tun2socks", Path: commands["tun2socks"], Module: "github.com/xjasonlyu/tun2socks/v2"},
		{Name: "sing-box", Path: commands["sing-box"], Module: "github.com/sagernet/sing-box"},
		{Name: "pasta", Path: "pasta", Package: "passt", Flag: "--version"},
		{Name: "slirp4netns", Path: "slirp4netns", Package: "slirp4netns", Flag: "--version"},
		{Name: "squid", Path: "squid", Package: "squid", Flag: "-v"},
		{Name: "haproxy", Path: "haproxy", Package: "haproxy", Flag: "-v"},
		{Name: "nghttpx", Path: "nghttpx", Package: "nghttp2-proxy", Flag: "--version"},
	})
	if o.baseline != "" {
		if err := report.BaselineOf(report.Reach(results, report.Goals()), machine).Write(o.baseline); err != nil {
			return err
		}
	}
	if o.page == "" {
		return nil
	}
	return report.Page(o.page, results, machine)
}

// check measures what a baseline is about, and compares.
func check(ctx context.Context, out io.Writer, o options) error {
	commands, err := o.commands()
	if err != nil {
		return err
	}
	baseline, err := report.ReadBaseline(o.baseline)
	if err != nil {
		return err
	}
	results, err := measureAll(ctx, o, commands, cellsOf(report.Checked()))
	if err != nil {
		return err
	}
	if err := report.Text(out, results); err != nil {
		return err
	}
	if err := baseline.Check(report.Reach(results, report.Checked())); err != nil {
		return fmt.Errorf("worse than %s:\n%w", o.baseline, err)
	}
	_, err = fmt.Fprintf(out, "\nnothing is worse than %s\n", o.baseline)
	return err
}

// measureAll lets those subjects that are chosen for a load carry it.
func measureAll(ctx context.Context, o options, commands subject.Commands, chosen choice) (*matrix.Results, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("network namespaces and devices are made: run it as root")
	}
	loads := load.WithDuration(report.Loads(), o.duration)
	carries := func(s subject.Subject, l load.Load) bool { return s.Carries(l) && chosen(s.Name, l.String()) }
	var missing []error
	subjects := slices.DeleteFunc(subject.All(commands), func(s subject.Subject) bool {
		none := !slices.ContainsFunc(loads, func(l load.Load) bool { return carries(s, l) })
		if !none && s.Missing != nil {
			missing = append(missing, fmt.Errorf("%s: %w", s.Name, s.Missing))
		}
		return none
	})
	if len(missing) > 0 && !o.withoutMissing {
		return nil, errors.Join(append(missing, errors.New("-without-missing leaves them out"))...)
	}
	if len(subjects) == 0 {
		return nil, fmt.Errorf("-only %q -load %q: nothing is named so", o.only, o.load)
	}
	return matrix.Plan{
		Subjects: subjects, Rounds: o.rounds, Progress: os.Stderr,
		Loads: loads, Carries: carries, Commands: commands,
	}.Run(ctx)
}

// commands are where programs are that are not installed.
func (o options) commands() (subject.Commands, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(o.culvert); err != nil {
		return nil, fmt.Errorf("culvert: %w; `make build` makes it", err)
	}
	return subject.Commands{"culvert": o.culvert, "bench": self, "tun2socks": o.peers + "/tun2socks", "sing-box": o.peers + "/sing-box"}, nil
}

// choice is whether a subject is measured under a load.
type choice func(subject, load string) bool

// choice is everything, what goals are computed from, or what regular
// expressions find.
func (o options) choice() (choice, error) {
	load, err := regexp.Compile(o.load)
	if err != nil {
		return nil, fmt.Errorf("-load: %w", err)
	}
	if o.only == "goals" {
		named, more := cellsOf(report.Goals()), report.Orientation()
		return func(s, l string) bool {
			return (named(s, l) || slices.Contains(more, [2]string{s, l})) && load.MatchString(l)
		}, nil
	}
	only, err := regexp.Compile(o.only)
	if err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	return func(s, l string) bool { return only.MatchString(s) && load.MatchString(l) }, nil
}

// cellsOf is what goals are computed from.
func cellsOf(goals []report.Goal) choice {
	cells := map[[2]string]bool{}
	for _, g := range goals {
		for _, c := range g.Cells() {
			cells[c] = true
		}
	}
	return func(s, l string) bool { return cells[[2]string{s, l}] }
}
