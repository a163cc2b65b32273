package format

import (
	"fmt"
	"strconv"
	"strings"
)

// SyntaxError is what is wrong with a format string.
type SyntaxError struct {
	Format string
	// Offset is where the operator begins, in bytes.
	Offset int
	// Operator is its name; empty if none could be read.
	Operator string
	Problem  string
}

func (e *SyntaxError) Error() string {
	if e.Operator == "" {
		return fmt.Sprintf("format %q: at offset %d: %s", e.Format, e.Offset, e.Problem)
	}
	return fmt.Sprintf("format %q: operator %%%s%% at offset %d: %s", e.Format, e.Operator, e.Offset, e.Problem)
}

// command is an operator as written: %NAME(PARAM):LENGTH%.
type command struct {
	name     string
	param    string
	hasParam bool
	length   int // 0: none
	size     int // bytes in the format string
}

// parse splits s at its operators.
func parse(s string) ([]segment, error) {
	var out []segment
	var text strings.Builder
	known := operators()
	for i := 0; i < len(s); {
		switch {
		case s[i] != '%':
			next := strings.IndexByte(s[i:], '%')
			if next < 0 {
				next = len(s) - i
			}
			text.WriteString(s[i : i+next])
			i += next
			continue
		case strings.HasPrefix(s[i:], "%%"):
			text.WriteByte('%')
			i += 2
			continue
		}
		cmd, problem := readCommand(s[i:])
		if problem == "" {
			var op operator
			if op, problem = compile(known, cmd); problem == "" {
				if text.Len() > 0 {
					out = append(out, segment{text: text.String()})
					text.Reset()
				}
				out = append(out, segment{operator: op})
				i += cmd.size
				continue
			}
		}
		return nil, &SyntaxError{Format: s, Offset: i, Operator: cmd.name, Problem: problem}
	}
	if text.Len() > 0 {
		out = append(out, segment{text: text.String()})
	}
	return out, nil
}

// readCommand reads the operator s begins with.
func readCommand(s string) (cmd command, problem string) {
	i := 1
	for i < len(s) && isNameByte(s[i]) {
		i++
	}
	cmd.name = s[1:i]
	if cmd.name == "" {
		return cmd, "no operator after %; a percent sign is written %%"
	}
	if i < len(s) && s[i] == '(' {
		end, length := paramEnd(s[i:])
		if end < 0 {
			return cmd, "parameter without its )"
		}
		cmd.param, cmd.hasParam = s[i+1:i+end], true
		cmd.size = i + end + 1 + length
		return cmd, cmd.setLength(s[i+end+1 : cmd.size])
	}
	end := strings.IndexByte(s[i:], '%')
	if end < 0 {
		return cmd, "operator without its closing %"
	}
	cmd.size = i + end + 1
	return cmd, cmd.setLength(s[i:cmd.size])
}

func isNameByte(c byte) bool {
	return 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}

// paramEnd finds the ) that ends the parameter s begins with: the first that
// is followed by the operator's end. length is that of the end, "%" or ":5%".
func paramEnd(s string) (end, length int) {
	for i := 1; i < len(s); i++ {
		if s[i] != ')' {
			continue
		}
		j := i + 1
		if j < len(s) && s[j] == ':' {
			for j++; j < len(s) && '0' <= s[j] && s[j] <= '9'; j++ {
			}
		}
		if j < len(s) && s[j] == '%' {
			return i, j - i
		}
	}
	return -1, 0
}

// setLength reads "%" or ":5%".
func (c *command) setLength(s string) (problem string) {
	s = strings.TrimSuffix(s, "%")
	if s == "" {
		return ""
	}
	digits, ok := strings.CutPrefix(s, ":")
	if !ok {
		return fmt.Sprintf("%q after the name", s)
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || n == 0 {
		return fmt.Sprintf("length %q is not a positive number", digits)
	}
	c.length = int(n)
	return ""
}

// rule says what may follow an operator's name.
type rule uint8

const (
	noParam   rule = iota
	mayParam       // (PARAM) may be left out
	mustParam      // (PARAM) is required
)

// definition is an operator that can be compiled.
type definition struct {
	rule   rule
	length bool // :Z is allowed
	// build compiles it; problem is what is wrong with the parameter.
	build func(param string) (op operator, problem string)
}

// compile finds and builds an operator.
func compile(known map[string]definition, cmd command) (operator, string) {
	d, ok := known[cmd.name]
	switch {
	case !ok && isEnvoys(cmd.name):
		return operator{}, "is not supported by culvert"
	case !ok:
		return operator{}, "unknown operator"
	case d.rule == noParam && cmd.hasParam:
		return operator{}, "takes no parameter"
	case d.rule == mustParam && cmd.param == "":
		return operator{}, "needs a parameter"
	case !d.length && cmd.length > 0:
		return operator{}, "takes no length"
	}
	op, problem := d.build(cmd.param)
	if problem == "" && cmd.length > 0 {
		op = truncate(op, cmd.length)
	}
	return op, problem
}

// truncate keeps the first n bytes of the text.
func truncate(op operator, n int) operator {
	full := op.value
	return operator{constant: op.constant, value: func(dst []byte, c *Context) ([]byte, bool) {
		start := len(dst)
		dst, ok := full(dst, c)
		return dst[:min(len(dst), start+n)], ok
	}}
}
