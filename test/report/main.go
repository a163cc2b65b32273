// Command report reads `go test -json` and prints what a person wants of it:
// each package's outcome, the output of what failed, and at the end the figures
// that tests measured and the list of tests that were skipped and what they
// needed. It exits 1 if anything failed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

type event struct {
	Action, Package, Test, Output string
	ImportPath                    string // of build-output and build-fail
	FailedBuild                   string
	Elapsed                       float64
}

// name is a test in its package; the package's own events have no Test.
type name struct{ pkg, test string }

type report struct {
	out                     io.Writer
	output                  map[name][]string
	build                   map[string][]string
	needs                   map[string][]string // reason to tests
	figures                 []string
	passed, failed, skipped int
	broken                  int // packages that failed
}

func main() {
	r := &report{out: os.Stdout, output: map[name][]string{}, build: map[string][]string{}, needs: map[string][]string{}}
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			r.line(line)
		}
		if err != nil {
			break
		}
	}
	if !r.summary() {
		os.Exit(1)
	}
}

func (r *report) line(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil {
		fmt.Fprintf(r.out, "%s", line) // the go command speaking for itself
		return
	}
	n := name{e.Package, e.Test}
	switch e.Action {
	case "output":
		r.output[n] = append(r.output[n], e.Output)
	case "build-output":
		r.build[e.ImportPath] = append(r.build[e.ImportPath], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.endPackage(e)
		} else {
			r.endTest(e, n)
		}
	}
}

func (r *report) endTest(e event, n name) {
	switch e.Action {
	case "pass":
		r.passed++
		r.measured(n)
	case "fail":
		r.failed++
		r.dump(n)
	case "skip":
		r.skipped++
		why := reason(r.output[n])
		r.needs[why] = append(r.needs[why], short(n.pkg)+"."+n.test)
	}
	delete(r.output, n)
}

func (r *report) endPackage(e event) {
	n := name{pkg: e.Package}
	if e.Action == "fail" {
		r.broken++
		for _, l := range r.build[e.FailedBuild] {
			fmt.Fprint(r.out, l)
		}
		for k := range r.output { // tests that never ended: a panic or a time-out
			if k.pkg == e.Package && k.test != "" {
				r.dump(k)
			}
		}
		r.dump(n)
	}
	if e.Action != "skip" {
		fmt.Fprintf(r.out, "%-4s %7.2fs %s\n", e.Action, e.Elapsed, short(e.Package))
	}
	delete(r.output, n)
}

func (r *report) dump(n name) {
	fmt.Fprintf(r.out, "--- %s.%s\n", short(n.pkg), n.test)
	for _, l := range r.output[n] {
		fmt.Fprint(r.out, l)
	}
}

var needLine = regexp.MustCompile(`need: .*`)

// reason is what a skipped test said it needed.
func reason(lines []string) string {
	all := strings.Join(lines, "")
	if m := needLine.FindString(all); m != "" {
		return m
	}
	return "skipped without saying what it needs"
}

var figureLine = regexp.MustCompile(`figure: (.*)`)

// measured keeps the figures of a test.
func (r *report) measured(n name) {
	for _, m := range figureLine.FindAllStringSubmatch(strings.Join(r.output[n], ""), -1) {
		r.figures = append(r.figures, short(n.pkg)+"."+n.test+": "+m[1])
	}
}

func short(pkg string) string { return strings.TrimPrefix(pkg, "culvert/") }

func (r *report) summary() bool {
	if len(r.figures) > 0 {
		fmt.Fprintln(r.out, "\nMeasured:")
	}
	for _, f := range r.figures {
		fmt.Fprintf(r.out, "  %s\n", f)
	}
	if len(r.needs) > 0 {
		fmt.Fprintln(r.out, "\nNot run here:")
	}
	reasons := make([]string, 0, len(r.needs))
	for why := range r.needs {
		reasons = append(reasons, why)
	}
	slices.Sort(reasons)
	for _, why := range reasons {
		fmt.Fprintf(r.out, "  %s\n", why)
		for _, t := range r.needs[why] {
			fmt.Fprintf(r.out, "      %s\n", t)
		}
	}
	fmt.Fprintf(r.out, "\n%d passed, %d failed, %d skipped\n", r.passed, max(r.failed, r.broken), r.skipped)
	return r.failed == 0 && r.broken == 0
}
