package configs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strconv"
)

// parseJSON reads one JSON document.
func parseJSON(file string, text []byte) (*node, *Errors) {
	r := &jsonReader{file: file, dec: json.NewDecoder(bytes.NewReader(text)), lines: lineStarts(text)}
	r.dec.UseNumber()
	n, err := r.value(0)
	if err == nil {
		if _, end := r.dec.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("more text behind the document")
		}
	}
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("the document ends too early")
		}
		r.errs.add(Problem{File: file, Line: r.line(), Message: "JSON: " + err.Error()})
		return nil, &r.errs
	}
	return n, &r.errs
}

type jsonReader struct {
	file  string
	dec   *json.Decoder
	lines []int
	errs  Errors
	nodes int
}

// line is the line of the last token.
func (r *jsonReader) line() int {
	at := int(r.dec.InputOffset())
	return max(1, sort.Search(len(r.lines), func(i int) bool { return r.lines[i] >= at }))
}

func (r *jsonReader) value(depth int) (*node, error) {
	if r.nodes++; r.nodes > maxNodes {
		return nil, fmt.Errorf("more than %d objects, arrays and scalars", maxNodes)
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("objects and arrays nest deeper than %d levels", maxDepth)
	}
	token, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	n := &node{file: r.file, line: r.line(), size: 1}
	switch t := token.(type) {
	case json.Delim:
		if t == '{' {
			return n, r.object(n, depth)
		}
		return n, r.array(n, depth)
	case bool:
		n.kind, n.text = kindBool, strconv.FormatBool(t)
	case json.Number:
		n.kind, n.text = kindNumber, t.String()
	case string:
		n.kind, n.text = kindString, t
	}
	n.raw = n.text
	return n, nil
}

func (r *jsonReader) object(n *node, depth int) error {
	n.kind = kindMap
	seen := make(map[string]int)
	for r.dec.More() {
		token, err := r.dec.Token()
		if err != nil {
			return err
		}
		key, line := token.(string), r.line() // Token allows nothing else here
		v, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		if first, twice := seen[key]; twice {
			r.errs.add(Problem{File: r.file, Line: line, Message: fmt.Sprintf("key %s is given twice", quote(key)),
				Fix: fmt.Sprintf("first on line %d", first)})
			continue
		}
		seen[key] = line
		n.members = append(n.members, member{key, line, v})
		n.size += v.size + 1
	}
	_, err := r.dec.Token() // the closing brace
	return err
}

func (r *jsonReader) array(n *node, depth int) error {
	n.kind = kindList
	for r.dec.More() {
		v, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		n.items = append(n.items, v)
		n.size += v.size
	}
	_, err := r.dec.Token() // the closing bracket
	return err
}
