package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/structpb"
)

// FuzzCompile: no format string is compiled into something that cannot be
// evaluated, and every refusal says where.
func FuzzCompile(f *testing.F) {
	for name := range operators() {
		f.Add("%" + name + "%")
		f.Add("x%" + name + "(a:b?c):3%y%%")
	}
	f.Add("%START_TIME(%s.%3f %E*S)%")
	f.Add("%REQ(a)b)%")
	f.Fuzz(func(t *testing.T, s string) {
		compiled, err := Compile(s)
		if err != nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Offset < 0 || syntax.Offset >= len(s) || s[syntax.Offset] != '%' {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		got := compiled.String(exchange())
		if !strings.Contains(s, "%") && got != s {
			t.Fatalf("%q became %q", s, got)
		}
		j, err := CompileJSON(&structpb.Struct{Fields: map[string]*structpb.Value{s: structpb.NewStringValue(s)}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if line := j.Append(nil, exchange()); !json.Valid(line) || bytes.ContainsRune(line, '\n') {
			t.Fatalf("%q: not JSON on one line: %s", s, line)
		}
	})
}

// FuzzEscape: no value a peer sends leaves its place in a log line.
func FuzzEscape(f *testing.F) {
	f.Add("a\r\nb\"\\\x00\x7f\xff\u009b\u202e")
	compiled, err := Compile(`"%REQ(x)%"`)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := exchange()
		c.Request.Header.Set("x", s)
		line := compiled.AppendEscaped(nil, c)
		if !utf8.Valid(line) {
			t.Fatalf("%q: not UTF-8: %q", s, line)
		}
		inside := string(line[1 : len(line)-1])
		if strings.IndexFunc(inside, unicode.IsControl) >= 0 {
			t.Fatalf("%q: control characters in %q", s, line)
		}
		if strings.Contains(strings.ReplaceAll(strings.ReplaceAll(inside, `\\`, ""), `\"`, ""), `"`) {
			t.Fatalf("%q: leaves its quotes: %q", s, line)
		}
	})
}
