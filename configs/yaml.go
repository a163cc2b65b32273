package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parseYAML reads one YAML document as Envoy does: scalars by YAML 1.1, keys as
// they are written, keys tagged !ignore left out. An empty document is null.
func parseYAML(file string, text []byte) (*node, *Errors) {
	r := &yamlReader{file: file, text: text, done: make(map[*yaml.Node]*node), open: make(map[*yaml.Node]bool)}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return &node{file: file, line: 1, size: 1}, &r.errs
	case err != nil:
		r.errs.add(yamlProblem(file, err))
		return nil, &r.errs
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		r.fail(&second, "a second YAML document", "keep one: what stands behind --- would have no effect")
	case !errors.Is(err, io.EOF):
		r.errs.add(yamlProblem(file, err))
	}
	if len(r.errs.Problems) > 0 {
		return nil, &r.errs
	}
	n := r.convert(&doc, 0)
	if r.tooLarge {
		n = nil
	}
	return n, &r.errs
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

// yamlProblem is a syntax error of the parser.
func yamlProblem(file string, err error) Problem {
	p := Problem{File: file, Message: err.Error()}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		p.Message = "YAML: " + m[2]
	}
	switch {
	case strings.Contains(p.Message, "tab character"):
		p.Fix = "indent with spaces"
	case strings.Contains(p.Message, "cannot start any token"):
		p.Fix = "indent with spaces, and quote what begins with @, % or `"
	case strings.Contains(p.Message, "mapping values are not allowed"):
		p.Fix = `put a space behind each key's ":", quote values that contain ": ", and align keys of one map`
	}
	return p
}

// yamlReader turns yaml.v3's nodes into ours.
type yamlReader struct {
	file string
	text []byte
	errs Errors
	// done holds what was converted, for aliases; open what is being converted,
	// to see an alias that contains itself.
	done map[*yaml.Node]*node
	open map[*yaml.Node]bool
	// nodes counts those written, extra those that aliases add.
	nodes, extra int
	// tooLarge is set once a bound is passed; conversion then stops.
	tooLarge bool
	lines    []int // offsets of line starts, made when first needed
	// Where at last looked: scalars come in the order of the text, and a line
	// may be as long as the document.
	line, column, offset int
}

func (r *yamlReader) fail(y *yaml.Node, message, fix string) {
	r.errs.add(Problem{File: r.file, Line: y.Line, Message: message, Fix: fix})
}

// refuse reports that a bound is passed, once.
func (r *yamlReader) refuse(y *yaml.Node, format string, args ...any) {
	if !r.tooLarge {
		r.fail(y, fmt.Sprintf(format, args...), "")
	}
	r.tooLarge = true
}

func (r *yamlReader) convert(y *yaml.Node, depth int) *node {
	n := &node{file: r.file, line: y.Line, size: 1}
	if r.nodes++; r.nodes > maxNodes {
		r.refuse(y, "more than %d maps, lists and scalars", maxNodes)
	}
	if depth > maxDepth {
		r.refuse(y, "maps and lists nest deeper than %d levels", maxDepth)
	}
	if r.tooLarge {
		return n
	}
	if y.Style&yaml.TaggedStyle != 0 && y.Kind != yaml.ScalarNode && !strings.HasPrefix(y.Tag, "!!") {
		r.fail(y, "unknown YAML tag "+y.Tag, "remove it")
	}
	switch y.Kind {
	case yaml.DocumentNode:
		if len(y.Content) > 0 {
			return r.convert(y.Content[0], depth)
		}
	case yaml.AliasNode:
		return r.alias(y, depth)
	case yaml.ScalarNode:
		r.scalar(y, n)
	case yaml.SequenceNode:
		n.kind = kindList
		r.open[y] = true
		for _, c := range y.Content {
			v := r.convert(c, depth+1)
			n.items = append(n.items, v)
			n.size += v.size
		}
	case yaml.MappingNode:
		n.kind = kindMap
		r.open[y] = true
		r.mapping(y, n, depth)
	}
	delete(r.open, y)
	if y.Anchor != "" {
		r.done[y] = n
	}
	return n
}

// alias is the node of its target. The target's depth below this place is not
// checked again; the decoder does that.
func (r *yamlReader) alias(y *yaml.Node, depth int) *node {
	if r.open[y.Alias] {
		r.fail(y, "alias *"+y.Value+" contains itself", "")
		return &node{file: r.file, line: y.Line, size: 1}
	}
	n := r.done[y.Alias]
	if n == nil { // its anchor stands in a part that was left out
		n = r.convert(y.Alias, depth)
	}
	r.expanded(y, n)
	return n
}

// expanded counts what an alias or merge key repeats.
func (r *yamlReader) expanded(y *yaml.Node, n *node) {
	if r.extra += n.size; r.extra > maxAliasNodes {
		r.refuse(y, "aliases repeat more than %d maps, lists and scalars", maxAliasNodes)
	}
}

// mapping reads a map's own keys first, then what merge keys add.
func (r *yamlReader) mapping(y *yaml.Node, n *node, depth int) {
	seen := make(map[string]int, len(y.Content)/2)
	var merges []*yaml.Node
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		if k.Tag == "!ignore" {
			r.ignored(v, depth+1)
			continue
		}
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		switch {
		case k.Kind != yaml.ScalarNode:
			r.fail(k, "a key must be a scalar", "")
			continue
		case k.Tag == "!!merge":
			merges = append(merges, v)
			continue
		}
		if first, twice := seen[k.Value]; twice {
			r.fail(k, fmt.Sprintf("key %s is given twice", quote(k.Value)), fmt.Sprintf("first on line %d", first))
			continue
		}
		seen[k.Value] = k.Line
		r.member(n, member{k.Value, k.Line, r.convert(v, depth+1)})
	}
	for _, v := range merges {
		r.merge(r.convert(v, depth+1), v, n, seen)
	}
}

func (r *yamlReader) member(n *node, m member) {
	n.members = append(n.members, m)
	n.size += m.value.size + 1
}

// ignored converts the value of an !ignore key for the anchors in it.
func (r *yamlReader) ignored(v *yaml.Node, depth int) { r.convert(v, depth) }

// merge adds the keys of from, a map or a list of maps, that n has not got.
func (r *yamlReader) merge(from *node, y *yaml.Node, n *node, seen map[string]int) {
	switch from.kind {
	case kindMap:
		for _, m := range from.members {
			if _, has := seen[m.key]; !has && !r.tooLarge {
				seen[m.key] = m.line
				r.expanded(y, m.value)
				r.member(n, m)
			}
		}
	case kindList:
		for _, item := range from.items {
			if item.kind != kindMap {
				r.fail(y, "<< wants a map or a list of maps", "")
				continue
			}
			r.merge(item, y, n, seen)
		}
	default:
		if !r.tooLarge {
			r.fail(y, "<< wants a map or a list of maps", "")
		}
	}
}

// scalar gives a scalar its kind, as Envoy's YAML reader does: quoted ones are
// strings, then booleans, then integers, and what is left, fractions included,
// is a string that the decoder reads as the field wants it.
func (r *yamlReader) scalar(y *yaml.Node, n *node) {
	n.kind, n.text, n.raw = kindString, y.Value, y.Value
	const quoted = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	switch {
	case y.Style&quoted != 0 || y.Tag == "!!str" && y.Style&yaml.TaggedStyle != 0:
		return
	case y.Style&yaml.TaggedStyle != 0 && strings.HasPrefix(y.Tag, "!!"):
		// !!int, !!bool and the like say no more than the text does.
	case y.Style&yaml.TaggedStyle != 0:
		r.fail(y, "unknown YAML tag "+y.Tag, "remove it, or write ! to make a string")
		return
	case r.forcedString(y):
		return
	}
	if isNull(y.Value) {
		n.kind = kindNull
	} else if b, ok := yaml11Bool(y.Value); ok {
		n.kind, n.text = kindBool, strconv.FormatBool(b)
	} else if i, ok := yaml11Int(y.Value); ok {
		n.text = strconv.FormatInt(i, 10)
		if i == int64(int32(i)) {
			n.kind = kindInt
		}
	}
}

// forcedString reports the tag "!", which yaml.v3 does not pass on: it is looked
// for in the text, where the scalar's properties begin.
func (r *yamlReader) forcedString(y *yaml.Node) bool {
	rest := r.at(y.Line, y.Column)
	for {
		switch {
		case bytes.HasPrefix(rest, []byte("&")):
			end := bytes.IndexAny(rest, " \t\n")
			if end < 0 {
				return false
			}
			rest = bytes.TrimLeft(rest[end:], " \t\n")
		default:
			return len(rest) > 1 && rest[0] == '!' && bytes.IndexByte([]byte(" \t\n"), rest[1]) >= 0
		}
	}
}

// at is the text from a line and column on; columns count characters.
func (r *yamlReader) at(line, column int) []byte {
	if r.lines == nil {
		r.lines = lineStarts(r.text)
	}
	if line < 1 || line > len(r.lines) {
		return nil
	}
	if line != r.line || column < r.column {
		r.line, r.column, r.offset = line, 1, r.lines[line-1]
	}
	for r.column < column && r.offset < len(r.text) {
		r.offset++
		for r.offset < len(r.text) && r.text[r.offset]&0xC0 == 0x80 {
			r.offset++
		}
		r.column++
	}
	return r.text[r.offset:]
}

// lineStarts are the offsets at which lines begin.
func lineStarts(text []byte) []int {
	starts := []int{0}
	for i, c := range text {
		if c == '\n' {
			starts = append(starts, i+1)
		}
	}
	return starts
}

func isNull(s string) bool {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return true
	}
	return false
}

// yaml11Bool knows yes, no, on, off, y, n, true and false, in lower case, upper
// case or with a capital.
func yaml11Bool(s string) (value, ok bool) {
	lower := strings.ToLower(s)
	if s != lower && s != strings.ToUpper(s) && s != strings.ToUpper(s[:1])+lower[1:] {
		return false, false
	}
	switch lower {
	case "y", "yes", "on", "true":
		return true, true
	case "n", "no", "off", "false":
		return false, true
	}
	return false, false
}

// yaml11Int knows decimal, 0x hexadecimal and octal with a leading 0.
func yaml11Int(s string) (int64, bool) {
	// ParseInt also knows 0b, 0o and underscores, which Envoy's reader does not.
	digits := strings.ToLower(strings.TrimLeft(s, "+-"))
	if strings.Contains(s, "_") || strings.HasPrefix(digits, "0b") || strings.HasPrefix(digits, "0o") {
		return 0, false
	}
	i, err := strconv.ParseInt(s, 0, 64)
	return i, err == nil
}
