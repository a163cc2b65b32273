package configs

import (
	"strconv"
	"strings"
)

// place is where one node of the file ended up in the bootstrap. Places form
// the tree that finds a line for a path. Fields of a message inside an Any are
// children of the Any's own place.
type place struct {
	parent *place
	// name is a field's name or a map's key; index counts in a list, -1 elsewhere.
	name  string
	key   bool // name is a map's key
	index int

	file string
	line int

	fields map[string]*place
	items  []*place
}

func newRoot(file string) *place { return &place{index: -1, file: file} }

// field is the child for a field; what is written later replaces where it is.
func (p *place) field(name string, m member) *place { return p.named(name, false, m) }

// entry is the child for a map's key.
func (p *place) entry(m member) *place { return p.named(m.key, true, m) }

func (p *place) named(name string, key bool, m member) *place {
	c := p.fields[name]
	if c == nil {
		c = &place{parent: p, name: name, key: key, index: -1}
		if p.fields == nil {
			p.fields = make(map[string]*place)
		}
		p.fields[name] = c
	}
	c.file, c.line = m.value.file, m.line
	return c
}

// item appends a child for a list's next item.
func (p *place) item(n *node) *place {
	c := &place{parent: p, index: len(p.items), file: n.file, line: n.line}
	p.items = append(p.items, c)
	return c
}

// forget drops what is below p, when it is replaced as a whole.
func (p *place) forget() { p.fields, p.items = nil, nil }

// path is the path from the root: a.b[1].c, and a[key] for maps.
func (p *place) path() string {
	if p.parent == nil {
		return ""
	}
	above := p.parent.path()
	switch {
	case p.index >= 0:
		return above + "[" + strconv.Itoa(p.index) + "]"
	case p.key:
		return above + "[" + p.name + "]"
	case above == "":
		return p.name
	}
	return above + "." + p.name
}

// find is the place of a path, or the nearest one above it.
func (p *place) find(path string) *place {
	for path != "" {
		var next *place
		if path[0] == '[' {
			inner, rest, _ := strings.Cut(path[1:], "]")
			next = p.fields[inner]
			if i, err := strconv.Atoi(inner); err == nil && i >= 0 && i < len(p.items) {
				next = p.items[i]
			}
			path = strings.TrimPrefix(rest, ".")
		} else {
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			next = p.fields[path[:end]]
			path = strings.TrimPrefix(path[end:], ".")
		}
		if next == nil {
			return p
		}
		p = next
	}
	return p
}
