package main

import (
	"context"
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

// runMatrix measures the subjects that are chosen, and prints tables.
func runMatrix(ctx context.Context, out io.Writer, o options) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	chosen, err := choice(o.only)
	if err != nil {
		return err
	}
	commands := subject.Commands{"culvert": o.culvert, "bench": self, "tun2socks": o.peers + "/tun2socks", "sing-box": o.peers + "/sing-box"}
	subjects := slices.DeleteFunc(slices.Concat(
		subject.Baselines(), subject.Culvert(), subject.Capturing(commands), subject.Proxying(commands),
	), func(s subject.Subject) bool {
		return !chosen(s.Name)
	})
	if len(subjects) == 0 {
		return fmt.Errorf("-only %q: no subject has such a name", o.only)
	}
	results, err := matrix.Plan{
		Subjects: subjects, Rounds: o.rounds, Progress: os.Stderr,
		Commands: commands,
		Loads: []load.Load{
			{Kind: load.Down, Streams: 1, Duration: o.duration},
			{Kind: load.Up, Streams: 1, Duration: o.duration},
			{Kind: load.Down, Streams: 8, Duration: o.duration},
			{Kind: load.Up, Streams: 8, Duration: o.duration},
			{Kind: load.Connect, Streams: 16, Duration: o.duration},
			{Kind: load.PingPong, Streams: 1, Duration: o.duration},
		},
	}.Run(ctx)
	if err != nil {
		return err
	}
	if err := report.Text(out, results); err != nil || o.page == "" {
		return err
	}
	return report.Page(o.page, results, report.ThisMachine(o.culvert, map[string][]string{
		"tun2socks": {commands["tun2socks"], "-version"}, "sing-box": {commands["sing-box"], "version"},
		"pasta": {"pasta", "--version"}, "slirp4netns": {"slirp4netns", "--version"},
		"squid": {"squid", "-v"}, "haproxy": {"haproxy", "-v"}, "nghttpx": {"nghttpx", "--version"},
	}))
}

// choice is who is measured: everybody, those that goals name, or those that a
// regular expression finds.
func choice(only string) (func(name string) bool, error) {
	if only == "goals" {
		return func(name string) bool { return slices.Contains(report.Named(), name) }, nil
	}
	re, err := regexp.Compile(only)
	if err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	return re.MatchString, nil
}
