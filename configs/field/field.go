// Package field is how a part of the configuration is named in an error: a
// path of fields and indices, found again as a line of the file. It is a leaf:
// every constructor that compiles an Envoy message may import it.
package field

import (
	"errors"
	"fmt"
	"strings"
)

// Error is what is wrong with one place of the configuration. Path is relative
// to what the function that returned it was given, in the names of the file:
// filter_chains[0].filters[2].typed_config.cluster.
type Error struct {
	Path string
	Err  error
	// Fix says what to write instead, where we know the usual cause; may be empty.
	Fix string
}

func (e *Error) Error() string {
	msg := e.Err.Error()
	if e.Path != "" {
		msg = e.Path + ": " + msg
	}
	if e.Fix != "" {
		msg += " (" + e.Fix + ")"
	}
	return msg
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an error at path.
func Errorf(path, format string, args ...any) error {
	return &Error{Path: path, Err: fmt.Errorf(format, args...)}
}

// WithFix adds what to do about it to the errors in err that say nothing yet.
func WithFix(err error, fix string) error {
	if err == nil {
		return nil
	}
	return Join(each(err, func(e *Error) {
		if e.Fix == "" {
			e.Fix = fix
		}
	})...)
}

// At moves the errors in err below path; nil stays nil. A plain error becomes
// an error at path.
func At(path string, err error) error {
	if err == nil {
		return nil
	}
	return Join(each(err, func(e *Error) { e.Path = join(path, e.Path) })...)
}

// Index is path[i].
func Index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// Join keeps all errors, nil if there are none.
func Join(errs ...error) error { return errors.Join(errs...) }

// All lists the field errors in err, in order; plain errors come with an empty
// path.
func All(err error) []*Error {
	var out []*Error
	for _, e := range each(err, func(*Error) {}) {
		out = append(out, e.(*Error))
	}
	return out
}

// each flattens joined errors into copies that change has seen.
func each(err error, change func(*Error)) []error {
	if err == nil {
		return nil
	}
	if list, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range list.Unwrap() {
			out = append(out, each(e, change)...)
		}
		return out
	}
	var e *Error
	if errors.As(err, &e) {
		c := *e
		change(&c)
		return []error{&c}
	}
	c := &Error{Err: err}
	change(c)
	return []error{c}
}

func join(a, b string) string {
	switch {
	case a == "":
		return b
	case b == "" || strings.HasPrefix(b, "["):
		return a + b
	}
	return a + "." + b
}

// Honoured declares which fields of which messages a constructor reads: the
// message's full protobuf name to field names (snake case, space separated).
// The loader refuses every other field that is set; the table in the docs is
// made from it. A message with no fields to read maps to "".
type Honoured map[string]string

// Merge adds the others' declarations to h.
func (h Honoured) Merge(others ...Honoured) {
	for _, o := range others {
		for msg, fields := range o {
			h[msg] = strings.TrimSpace(h[msg] + " " + fields)
		}
	}
}
