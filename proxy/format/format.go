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
type Format struct{ s string }

// Compile compiles a format string.
func Compile(s string) (*Format, error) { return &Format{s}, nil }

// String is the format evaluated over c; missing values are "-".
func (f *Format) String(c *Context) string { return string(f.Append(nil, c)) }

// Append appends the format evaluated over c; missing values are "-".
func (f *Format) Append(dst []byte, c *Context) []byte { return append(dst, f.s...) }

// IsConstant reports whether the format is the same for every context.
func (f *Format) IsConstant() bool { return true }
