package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// event is a line of `go test -json`.
type event struct {
	Action, Package, Test, Output string
	ImportPath, FailedBuild       string // of a build that failed
}

// outcome is how one test of a package ended.
type outcome struct {
	pkg, test string
	action    string // pass, fail, skip
	output    string // of one that did not pass
}

// name is how the account calls a test.
func (o outcome) name() string { return strings.TrimPrefix(o.pkg, "culvert/") + "." + o.test }

// results are what a run of tests has told.
type results struct {
	// leaves are the tests that have no subtests, and those that failed though
	// none of their subtests did; sorted.
	leaves []outcome
	// broken is what was said by packages that did not build, or did not come to
	// their end.
	broken []string
}

// readResults reads `go test -json` to its end.
func readResults(r io.Reader) (*results, error) {
	ended, output, said := map[[2]string]outcome{}, map[[2]string]string{}, map[string]string{}
	res := &results{}
	in := bufio.NewScanner(r)
	in.Buffer(nil, 16<<20) // a line of output that a test prints
	for in.Scan() {
		var e event
		if json.Unmarshal(in.Bytes(), &e) != nil {
			res.broken = append(res.broken, in.Text()+"\n") // the go command speaking for itself
			continue
		}
		key := [2]string{e.Package, e.Test}
		switch e.Action {
		case "output":
			output[key] += e.Output
		case "build-output":
			said[e.ImportPath] += e.Output
		case "pass", "fail", "skip":
			if e.Test != "" {
				ended[key] = outcome{e.Package, e.Test, e.Action, output[key]}
				delete(output, key)
			} else if e.Action == "fail" {
				res.broken = append(res.broken, unfinished(e, said[e.FailedBuild], output)...)
			}
		}
	}
	res.leaves = leaves(ended)
	return res, in.Err()
}

// unfinished is what a package that failed has said besides its tests that
// ended: a build that failed, a panic, a time-out.
func unfinished(e event, build string, output map[[2]string]string) []string {
	var list []string
	for key, text := range output {
		if key[0] == e.Package && (key[1] != "" || strings.Contains(text, "panic:")) {
			list = append(list, text)
		}
	}
	slices.Sort(list)
	if build != "" {
		list = append(list, build)
	}
	return list
}

// leaves are the outcomes that count, sorted by name.
func leaves(ended map[[2]string]outcome) []outcome {
	parent, failedBelow := map[[2]string]bool{}, map[[2]string]bool{}
	for key, o := range ended {
		for name := key[1]; ; {
			i := strings.LastIndexByte(name, '/')
			if i < 0 {
				break
			}
			name = name[:i]
			up := [2]string{key[0], name}
			parent[up] = true
			failedBelow[up] = failedBelow[up] || o.action == "fail"
		}
	}
	var list []outcome
	for key, o := range ended {
		if !parent[key] || o.action == "fail" && !failedBelow[key] {
			list = append(list, o)
		}
	}
	slices.SortFunc(list, func(a, b outcome) int {
		return strings.Compare(a.pkg+"\x00"+a.test, b.pkg+"\x00"+b.test)
	})
	return list
}

var needLine = regexp.MustCompile(`need: .*`)

// why is what a skipped test said it needed.
func (o outcome) why() string {
	if m := needLine.FindString(o.output); m != "" {
		return m
	}
	return "skipped without saying what it needs"
}

// failure is a failed test with what it said.
func (o outcome) failure() string { return fmt.Sprintf("--- %s\n%s", o.name(), o.output) }
