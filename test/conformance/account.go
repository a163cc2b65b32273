package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// verdict is how a behaviour stands.
type verdict string

const (
	passed  verdict = "passed"
	exempt  verdict = "n/a"
	failed  verdict = "FAILED"
	missing verdict = "MISSING"
	wrong   verdict = "WRONG" // not_applicable.md is
)

// verdicts are in the order of the totals.
var verdicts = []verdict{passed, exempt, failed, missing, wrong}

// standing is a behaviour's line of the account.
type standing struct {
	behaviour
	verdict verdict
	cases   int
	places  []string // where it passed
	notes   []string
}

// account is the whole.
type account struct {
	standings []standing
	results   *results
}

// judge gives account of the behaviours.
func judge(list []behaviour, exemptions map[string][]exemption, res *results) account {
	a := account{results: res}
	byID := map[string][]outcome{}
	for _, o := range attributed(res.leaves) {
		for _, id := range o.ids {
			byID[id] = append(byID[id], o.outcome)
		}
	}
	for _, b := range list {
		a.standings = append(a.standings, stand(b, exemptions[b.id], byID[b.id]))
	}
	return a
}

// counted is an outcome with the ids it counts for.
type counted struct {
	outcome
	ids []string
}

// attributed says what each leaf counts for: nothing, if it is a case without
// ids of a test of which others have some. A failure counts for its test at least.
func attributed(leaves []outcome) []counted {
	function := func(o outcome) string { return o.pkg + "." + strings.SplitN(o.test, "/", 2)[0] }
	byCase := map[string]bool{}
	for _, o := range leaves {
		if _, ofCase := idsOf(o.test); ofCase {
			byCase[function(o)] = true
		}
	}
	var list []counted
	for _, o := range leaves {
		ids, ofCase := idsOf(o.test)
		if ofCase || !byCase[function(o)] || o.action == "fail" {
			list = append(list, counted{o, ids})
		}
	}
	return list
}

func stand(b behaviour, exemptions []exemption, outcomes []outcome) standing {
	s := standing{behaviour: b, verdict: passed}
	all := b.scope.places()
	passedIn := map[string]string{} // place to one of the tests
	var failures, skips []string
	for _, o := range outcomes {
		switch o.action {
		case "fail":
			failures = append(failures, o.name())
		case "skip":
			skips = append(skips, o.name()+": "+o.why())
		default:
			s.cases++
			passedIn[placeOf(o.test, all)] = o.name()
		}
	}
	for _, p := range all {
		if passedIn[p] != "" {
			s.places = append(s.places, p)
		}
	}
	lacking, complaints := s.apply(exemptions, passedIn)
	switch {
	case failures != nil:
		s.verdict, s.notes = failed, failures
	case complaints != nil:
		s.verdict, s.notes = wrong, complaints
	case s.verdict == exempt:
	case s.cases == 0:
		s.verdict, s.notes = missing, append(s.notes, skips...)
	case lacking != nil:
		s.verdict = missing
		s.notes = append(s.notes, "not in "+strings.Join(lacking, ", "))
		s.notes = append(s.notes, skips...)
	}
	return s
}

// apply holds the exemptions against where the behaviour passed: which places
// lack, and which exemptions are not so.
func (s *standing) apply(exemptions []exemption, passedIn map[string]string) (lacking, complaints []string) {
	lacking = slices.DeleteFunc(s.scope.places(), func(p string) bool { return passedIn[p] != "" })
	for _, e := range exemptions {
		s.notes = append(s.notes, e.text)
		switch {
		case e.whole():
			if s.verdict = exempt; s.cases > 0 {
				complaints = append(complaints, "is said not to apply, but passed")
			}
		case e.anyMode:
			if len(lacking) == 0 {
				complaints = append(complaints, "is said to be asked once, but passed in every "+s.scope.noun())
			}
			lacking = nil
		default:
			if all := slices.DeleteFunc(slices.Clone(e.places), func(p string) bool { return passedIn[p] == "" }); len(all) > 0 {
				complaints = append(complaints, fmt.Sprintf("is said not to apply in %s, but passed there: %s", strings.Join(all, ", "), passedIn[all[0]]))
			}
			lacking = slices.DeleteFunc(lacking, func(p string) bool { return slices.Contains(e.places, p) })
		}
	}
	if len(lacking) == 0 {
		lacking = nil
	}
	return lacking, complaints
}

// good says that nothing failed, nothing is missing, and the list is right.
func (a account) good() bool {
	for _, s := range a.standings {
		if s.verdict != passed && s.verdict != exempt {
			return false
		}
	}
	return len(a.results.broken) == 0 && !slices.ContainsFunc(a.results.leaves, func(o outcome) bool { return o.action == "fail" })
}

// write prints what failed, then a line for each behaviour, then the totals.
func (a account) write(w io.Writer) {
	for _, text := range a.results.broken {
		fmt.Fprint(w, text)
	}
	for _, o := range a.results.leaves {
		if o.action == "fail" {
			fmt.Fprint(w, o.failure())
		}
	}
	group := ""
	for _, s := range a.standings {
		if s.group() != group {
			group = s.group()
			fmt.Fprintln(w)
		}
		s.write(w)
	}
	a.totals(w)
}

func (s standing) write(w io.Writer) {
	fmt.Fprintf(w, "%-5s %-8s %-26s %s\n", s.id, s.verdict, s.where(), s.title)
	for _, note := range s.notes {
		for i, line := range lines(note) {
			fmt.Fprintf(w, "%*s%s\n", 15+min(2*i, 2), "", line)
		}
	}
}

// noteWidth is how long a line of a note gets, characters.
const noteWidth = 85

// lines breaks a note at its blanks.
func lines(note string) []string {
	var list []string
	line := ""
	for _, word := range strings.Fields(note) {
		if line != "" && len(line)+1+len(word) > noteWidth {
			list = append(list, line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(list, line)
}

// where is in how many cases, and in how many places of how many.
func (s standing) where() string {
	if s.cases == 0 {
		return "-"
	}
	cases := fmt.Sprintf("%d cases", s.cases)
	if s.cases == 1 {
		cases = "1 case"
	}
	switch n := len(s.scope.places()); {
	case n == 0 || len(s.places) == 0:
		return cases
	case n == len(s.places):
		return fmt.Sprintf("%s, all %d %ss", cases, n, s.scope.noun())
	default:
		return fmt.Sprintf("%s, %d of %d %ss", cases, len(s.places), n, s.scope.noun())
	}
}

func (a account) totals(w io.Writer) {
	count := map[string]map[verdict]int{}
	var groups []string
	sum := map[verdict]int{}
	for _, s := range a.standings {
		if count[s.group()] == nil {
			count[s.group()] = map[verdict]int{}
			groups = append(groups, s.group())
		}
		count[s.group()][s.verdict]++
		sum[s.verdict]++
	}
	fmt.Fprintf(w, "\n%-6s", "group")
	for _, v := range verdicts {
		fmt.Fprintf(w, "%9s", v)
	}
	fmt.Fprintln(w)
	count["all"] = sum
	for _, g := range append(groups, "all") {
		fmt.Fprintf(w, "%-6s", g)
		for _, v := range verdicts {
			fmt.Fprintf(w, "%9d", count[g][v])
		}
		fmt.Fprintln(w)
	}
}
