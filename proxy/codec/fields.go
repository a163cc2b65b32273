package codec

import "strings"

// Field is one header or trailer field line. HTTP/2 and HTTP/3 names are lower
// case on the wire; HTTP/1.1 keeps the case it came in.
type Field struct{ Name, Value string }

// Fields are field lines in the order they came, duplicates kept. Pseudo-header
// fields are never among them. Names compare without case.
type Fields []Field

// Get is the first value of name, empty if there is none.
func (f Fields) Get(name string) string {
	for _, x := range f {
		if strings.EqualFold(x.Name, name) {
			return x.Value
		}
	}
	return ""
}

// Has reports whether name is there, even if empty.
func (f Fields) Has(name string) bool {
	for _, x := range f {
		if strings.EqualFold(x.Name, name) {
			return true
		}
	}
	return false
}

// Values are all values of name in order.
func (f Fields) Values(name string) []string {
	var out []string
	for _, x := range f {
		if strings.EqualFold(x.Name, name) {
			out = append(out, x.Value)
		}
	}
	return out
}

// Add appends a line.
func (f *Fields) Add(name, value string) { *f = append(*f, Field{name, value}) }

// Set replaces the first line of name and drops the others; it appends if
// there is none.
func (f *Fields) Set(name, value string) {
	out, done := (*f)[:0:0], false
	for _, x := range *f {
		switch {
		case !strings.EqualFold(x.Name, name):
			out = append(out, x)
		case !done:
			out, done = append(out, Field{x.Name, value}), true
		}
	}
	if !done {
		out = append(out, Field{name, value})
	}
	*f = out
}

// Del drops every line of name.
func (f *Fields) Del(name string) {
	out := (*f)[:0:0]
	for _, x := range *f {
		if !strings.EqualFold(x.Name, name) {
			out = append(out, x)
		}
	}
	*f = out
}

// Clone copies the lines.
func (f Fields) Clone() Fields { return append(Fields(nil), f...) }

// ValidName reports whether s is a field name: an RFC 9110 §5.6.2 token.
func ValidName(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// ValidValue reports whether s may be a field value (RFC 9110 §5.5): no CR, LF,
// NUL or other control but tab, no space at either end. Anything substituted
// into a head is asked this first.
func ValidValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < ' ' && c != '\t') || c == 0x7f {
			return false
		}
	}
	return strings.Trim(s, " \t") == s
}
