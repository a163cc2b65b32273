package main

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"

	"culvert/proxy/codec"
	"culvert/tunnel"
)

//go:embed behaviours.md
var behavioursText string

// scope is where a behaviour is asked for.
type scope uint8

const (
	once scope = iota
	eachMode
	eachPair
)

// places are the names of the subtests of a scope; none of once.
func (s scope) places() []string {
	var list []string
	switch s {
	case once:
	case eachMode:
		for _, m := range tunnel.Modes() {
			list = append(list, m.String())
		}
	case eachPair:
		versions := []codec.Proto{codec.HTTP11, codec.HTTP2}
		for _, down := range versions {
			for _, up := range versions {
				list = append(list, strings.NewReplacer("/", "", ".", "").Replace(down.String()+"-"+up.String()))
			}
		}
	}
	return list
}

// noun is what one place of the scope is called.
func (s scope) noun() string { return [...]string{"", "mode", "pair"}[s] }

// behaviour is one of the list.
type behaviour struct {
	id, title string
	scope     scope
}

// group is the id's letters.
func (b behaviour) group() string { return strings.TrimRight(b.id, "0123456789") }

var (
	headingLine   = regexp.MustCompile(`^## .* \((once|each mode|each pair)\)$`)
	behaviourLine = regexp.MustCompile(`^([A-N]\d\d|FB\d\d)  (\S.*)$`)
)

// parseBehaviours reads behaviours.md: under headings that give the scope, a line
// each. Ids are consecutive within a group.
func parseBehaviours(text string) ([]behaviour, error) {
	scopes := map[string]scope{"once": once, "each mode": eachMode, "each pair": eachPair}
	var list []behaviour
	var under *scope
	last := map[string]int{}
	for _, line := range strings.Split(text, "\n") {
		if m := headingLine.FindStringSubmatch(line); m != nil {
			s := scopes[m[1]]
			under = &s
			continue
		}
		if strings.HasPrefix(line, "## ") {
			return nil, fmt.Errorf("%q: want (once), (each mode) or (each pair) at its end", line)
		}
		if under == nil || line == "" {
			continue // the introduction
		}
		m := behaviourLine.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("%q: want an id, two spaces, a title", line)
		}
		b := behaviour{id: m[1], title: m[2], scope: *under}
		last[b.group()]++
		if want := fmt.Sprintf("%s%02d", b.group(), last[b.group()]); b.id != want {
			return nil, fmt.Errorf("%s where %s should be", b.id, want)
		}
		list = append(list, b)
	}
	return list, nil
}
