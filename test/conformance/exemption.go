package main

import (
	_ "embed"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
)

//go:embed not_applicable.md
var exemptionsText string

// exemption is a line of not_applicable.md.
type exemption struct {
	id, reason string
	// One of these: the whole behaviour, unless any of the others is set.
	part    bool     // something of the behaviour, in each of its places
	anyMode bool     // it is asked once, though its group is asked in every place
	places  []string // these do not apply
	// as it is written, for the account: "HTTP11-*: no GOAWAY".
	text string
}

func (e exemption) whole() bool { return !e.part && !e.anyMode && e.places == nil }

var (
	exemptionLine  = regexp.MustCompile(`^([A-N]\d\d|FB\d\d)  (?:(in part|any mode|any pair|(?:[A-Z0-9*-]*[-*][A-Z0-9*-]*(?:, )?)+): )?(\S.*)$`)
	looksLikeOne   = regexp.MustCompile(`^[A-Z]+\d+\b`)
	looksLikeWhere = regexp.MustCompile(`(?i)^(any|in part|HTTP\d+[-*]|\*)[^ ]*( \w+)?:`)
)

// parseExemptions reads not_applicable.md against the behaviours there are. The
// error lists everything that is wrong.
func parseExemptions(text string, list []behaviour) (map[string][]exemption, error) {
	known, order := map[string]behaviour{}, map[string]int{}
	for i, b := range list {
		known[b.id], order[b.id] = b, i
	}
	out := map[string][]exemption{}
	var wrong []error
	before := -1
	for _, line := range strings.Split(text, "\n") {
		if !looksLikeOne.MatchString(line) {
			continue // prose
		}
		e, err := parseExemption(line, known)
		if err == nil {
			err = clash(e, out[e.id])
		}
		if err == nil && order[e.id] < before {
			err = errors.New("out of order")
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%q: %w", line, err))
			continue
		}
		before = order[e.id]
		out[e.id] = append(out[e.id], e)
	}
	return out, errors.Join(wrong...)
}

func parseExemption(line string, known map[string]behaviour) (exemption, error) {
	m := exemptionLine.FindStringSubmatch(line)
	if m == nil {
		return exemption{}, errors.New("want an id, two spaces, and a reason, or where and a reason")
	}
	e := exemption{id: m[1], reason: m[3], text: line[len(m[1])+2:]}
	b, ok := known[e.id]
	switch where := m[2]; {
	case !ok:
		return e, errors.New("no such behaviour")
	case where == "" && looksLikeWhere.MatchString(e.reason):
		return e, errors.New("where is that?")
	case where == "":
	case where == "in part":
		e.part = true
	case b.scope == once:
		return e, errors.New("the behaviour is asked once")
	case strings.HasPrefix(where, "any "):
		if e.anyMode = true; where != "any "+b.scope.noun() {
			return e, fmt.Errorf("it is asked in each %s", b.scope.noun())
		}
	default:
		var err error
		if e.places, err = matching(where, b.scope.places()); err != nil {
			return e, err
		}
		if len(e.places) == len(b.scope.places()) {
			return e, fmt.Errorf("every %s: then it does not apply at all", b.scope.noun())
		}
	}
	return e, nil
}

// matching are the places that the patterns mean, each of which means some.
func matching(patterns string, places []string) ([]string, error) {
	var list []string
	for _, pattern := range strings.Split(patterns, ", ") {
		n := len(list)
		for _, p := range places {
			if ok, _ := path.Match(pattern, p); ok {
				list = append(list, p)
			}
		}
		if len(list) == n {
			return nil, fmt.Errorf("%s is none of %s", pattern, strings.Join(places, ", "))
		}
	}
	return list, nil
}

// clash says what an exemption has against an earlier one of its behaviour.
func clash(e exemption, others []exemption) error {
	for _, o := range others {
		if e.whole() || o.whole() {
			return errors.New("the behaviour has another line besides the one that exempts it whole")
		}
		if e.anyMode && o.places != nil || o.anyMode && (e.places != nil || e.anyMode) {
			return errors.New("what is asked once has no places")
		}
		for _, p := range o.places {
			for _, q := range e.places {
				if p == q {
					return fmt.Errorf("%s is exempt already", p)
				}
			}
		}
	}
	return nil
}
