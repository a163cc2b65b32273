package configs

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"culvert/configs/field"
)

// Problem is one thing that is wrong with a configuration, or one warning.
type Problem struct {
	// Path names the field from the bootstrap down, in the names of the proto:
	// static_resources.listeners[0].filter_chains[0].filters[0].typed_config.
	// Empty for what concerns the whole file.
	Path string
	// File is as given to Load, "--config-yaml" for the text given beside it;
	// empty if the configuration came from no file.
	File string
	// Line counts from 1; 0 if unknown.
	Line int
	// Message says what is wrong, Fix what to write instead; Fix may be empty.
	Message, Fix string
}

// String is "file.yaml:12: path: message (fix)", without what is unknown.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			b.WriteString(":" + strconv.Itoa(p.Line))
		}
		b.WriteString(": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	if p.Fix != "" {
		b.WriteString(" (" + p.Fix + ")")
	}
	return b.String()
}

// Errors is the error of Load and Check: every problem found, in the order of
// the file, the first hundred of them.
type Errors struct {
	Problems []Problem
	// More is how many problems were found and are not listed.
	More int
}

// Error is one problem a line.
func (e *Errors) Error() string {
	lines := make([]string, 0, len(e.Problems)+1)
	for _, p := range e.Problems {
		lines = append(lines, p.String())
	}
	if e.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", e.More))
	}
	return strings.Join(lines, "\n")
}

// full reports whether further problems are only counted.
func (e *Errors) full() bool { return len(e.Problems) >= maxProblems }

// add keeps a problem, or counts it.
func (e *Errors) add(p Problem) {
	if e.full() {
		e.More++
		return
	}
	e.Problems = append(e.Problems, p)
}

// orNil is e as an error, in the order of the files; nil if it holds nothing.
func (e *Errors) orNil() error {
	if len(e.Problems) == 0 {
		return nil
	}
	files := make(map[string]int)
	for _, p := range e.Problems {
		if _, seen := files[p.File]; !seen {
			files[p.File] = len(files)
		}
	}
	slices.SortStableFunc(e.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(files[a.File], files[b.File]), cmp.Compare(a.Line, b.Line))
	})
	return e
}

// Problems lists what is in err: an error of Load or Check, or field errors
// whose paths begin at the bootstrap, which get their lines here. d may be nil.
func (d *Document) Problems(err error) []Problem {
	if err == nil {
		return nil
	}
	var own *Errors
	switch list, joined := err.(interface{ Unwrap() []error }); {
	case joined:
		var out []Problem
		for _, e := range list.Unwrap() {
			out = append(out, d.Problems(e)...)
		}
		return out
	case errors.As(err, &own):
		out := own.Problems[:len(own.Problems):len(own.Problems)]
		if own.More > 0 {
			out = append(out, Problem{Message: fmt.Sprintf("and %d more", own.More)})
		}
		return out
	}
	var out []Problem
	for _, e := range field.All(err) {
		p := d.At(e.Path)
		p.Message, p.Fix = e.Err.Error(), e.Fix
		out = append(out, p)
	}
	return out
}

// At is a Problem at a path, with the file and line of the path or, where the
// file does not say it, of the nearest field around it. d may be nil.
func (d *Document) At(path string) Problem {
	p := Problem{Path: path}
	if d == nil || d.root == nil {
		return p
	}
	at := d.root.find(path)
	p.File, p.Line = at.file, at.line
	return p
}
