package format

import (
	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// Context is what a format is evaluated over. Info is required, the rest may
// be nil: a value that would come from it is missing.
type Context struct {
	Info           *network.StreamInfo
	Request        *codec.Request
	Response       *codec.Response
	Trailers       codec.Fields // of the response
	LogType        string       // %ACCESS_LOG_TYPE%
	LocalReplyBody string
}

// Format is a compiled format string. It is immutable and safe from any
// goroutine.
type Format struct {
	segments []segment
	// missing stands for a value that is not there.
	missing  string
	constant bool
}

// segment is text, or an operator where value is set.
type segment struct {
	text string
	operator
}

// value appends what an operator stands for; false, and nothing appended, if
// there is no such value.
type value func(dst []byte, c *Context) ([]byte, bool)

// operator is a compiled command operator.
type operator struct {
	value value
	// json appends the value as JSON. Nil: the text as a JSON string.
	json value
	// constant: the value is the same for every context.
	constant bool
}

// Options of CompileWith.
type Options struct {
	// OmitEmpty: a missing value prints as nothing instead of "-".
	OmitEmpty bool
}

// Compile compiles a format string. The error is a *SyntaxError.
func Compile(s string) (*Format, error) { return CompileWith(s, Options{}) }

// CompileWith compiles a format string with options. The error is a
// *SyntaxError.
func CompileWith(s string, o Options) (*Format, error) {
	segments, err := parse(s)
	if err != nil {
		return nil, err
	}
	f := &Format{segments: segments, missing: "-", constant: true}
	if o.OmitEmpty {
		f.missing = ""
	}
	for _, seg := range segments {
		if seg.value != nil && !seg.constant {
			f.constant = false
		}
	}
	return f, nil
}

// IsConstant reports whether the format is the same for every context.
func (f *Format) IsConstant() bool { return f.constant }

// String is the format evaluated over c; missing values are "-".
func (f *Format) String(c *Context) string { return string(f.Append(nil, c)) }

// Append appends the format evaluated over c; missing values are "-".
func (f *Format) Append(dst []byte, c *Context) []byte {
	for i := range f.segments {
		dst, _ = f.appendSegment(dst, &f.segments[i], c)
	}
	return dst
}

// AppendEscaped appends as Append does, with everything in the values escaped
// that could end or forge a line of text or a quoted part of it: control
// characters, double quotes, backslashes, and bytes that are not UTF-8. The
// text of the format itself stays as it is.
func (f *Format) AppendEscaped(dst []byte, c *Context) []byte {
	for i := range f.segments {
		start := len(dst)
		var isValue bool
		if dst, isValue = f.appendSegment(dst, &f.segments[i], c); isValue {
			dst = escape(dst, start)
		}
	}
	return dst
}

func (f *Format) appendSegment(dst []byte, s *segment, c *Context) (_ []byte, isValue bool) {
	if s.value == nil {
		return append(dst, s.text...), false
	}
	dst, ok := s.value(dst, c)
	if !ok {
		return append(dst, f.missing...), false
	}
	return dst, true
}

// appendJSON appends the format as one JSON value: a single operator with its
// own type, or nothing and false if its value is missing; anything else as a
// string.
func (f *Format) appendJSON(dst []byte, c *Context) ([]byte, bool) {
	if len(f.segments) == 1 && f.segments[0].value != nil {
		return f.segments[0].appendJSON(dst, c)
	}
	return appendQuoted(dst, func(b []byte) ([]byte, bool) { return f.Append(b, c), true })
}

func (o *operator) appendJSON(dst []byte, c *Context) ([]byte, bool) {
	if o.json != nil {
		return o.json(dst, c)
	}
	return appendQuoted(dst, func(b []byte) ([]byte, bool) { return o.value(b, c) })
}
