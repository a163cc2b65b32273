package neighbours

import (
	"slices"
	"strings"
	"testing"

	"culvert/test/need"
)

// between is a neighbour between two culverts, or in the place of the exit.
type between struct {
	name   string
	config string   // of the neighbour, with DIR
	args   []string // the program, and its arguments, with CONFIG and DIR
	logs   []string // that the neighbour writes in DIR
	entry  entry
	exit   *exit    // none if the neighbour is the gateway
	fails  []string // conversations that do not work through it: its ways, which docs/tunnel-modes.md has
	unheld []string // conversations that may work or not
	logged string   // what every line of the exit's access log has
}

// run holds every conversation through the neighbour.
func (b between) run(t *testing.T) {
	t.Helper()
	t.Run(b.name, func(t *testing.T) {
		need.Long(t)
		t.Parallel()
		program := need.Command(t, b.args[0])
		s := newStreet(t)
		if b.exit != nil {
			s.startExit(*b.exit)
		}
		s.startEntry(b.entry)
		s.neighbour(b.config, b.logs, append([]string{program}, b.args[1:]...)...)
		for _, c := range conversations() {
			if slices.Contains(b.unheld, c.name) {
				continue
			}
			t.Run(c.name, func(t *testing.T) {
				if !slices.Contains(b.fails, c.name) {
					if err := s.hold(t, c, entryAddress, conversesWithin); err != nil {
						t.Error(err)
					}
					return
				}
				err := s.hold(t, c, entryAddress, failsWithin)
				if err == nil {
					t.Error("it works: docs/tunnel-modes.md says that it does not")
				}
				t.Logf("as known: %v", err)
			})
		}
		if b.logged == "" {
			return
		}
		for _, line := range s.records(len(conversations()) - len(b.unheld)) {
			if !strings.Contains(line, b.logged) {
				t.Errorf("the exit logs %q, want %q", line, b.logged)
			}
		}
	})
}

// Nothing says that the neighbours' failures are theirs, but that the same
// conversations work where nobody stands between.
func TestNobodyBetween(t *testing.T) {
	for _, c := range []struct {
		name  string
		entry entry
		exit  exit
	}{
		{"H1 CONNECT", entry{Next: toExit(hop{})}, exit{}},
		{"H2 CONNECT", entry{Next: toExit(hop{HTTP2: true})}, exit{}},
		{"H1 POST", entry{Next: toExit(hop{}), Post: true}, exit{Post: true}},
		{"H2 POST", entry{Next: toExit(hop{HTTP2: true}), Post: true}, exit{Post: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStreet(t)
			s.startExit(c.exit)
			s.startEntry(c.entry)
			for _, c := range conversations() {
				if err := s.hold(t, c, entryAddress, conversesWithin); err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
			}
		})
	}
}
