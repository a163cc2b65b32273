package configs

// node is a value of the file: what YAML and JSON have in common, with aliases
// and merge keys resolved. An alias shares its target's node.
type node struct {
	kind kind
	// text is a scalar as a string: decimal for kindInt, "true" or "false" for
	// kindBool. raw is what stands in the file.
	text, raw string
	members   []member
	items     []*node

	file string
	line int
	// size is the number of nodes below and including this one, aliases
	// expanded.
	size int
}

// member is a key of a map and its value.
type member struct {
	key   string
	line  int
	value *node
}

type kind uint8

const (
	kindNull kind = iota
	kindBool
	// kindInt is an integer of 32 bits. Larger ones are strings, as in Envoy,
	// because JSON's numbers could not hold them.
	kindInt
	// kindNumber is a number of JSON. YAML's fractions are strings.
	kindNumber
	kindString
	kindList
	kindMap
)

// String says what a value is, for "wants a string, got …".
func (n *node) String() string {
	switch n.kind {
	case kindNull:
		return "null"
	case kindBool:
		return "the boolean " + n.raw
	case kindInt, kindNumber:
		return "the number " + n.raw
	case kindString:
		return "the string " + quote(n.text)
	case kindList:
		return "a list"
	default:
		return "a map"
	}
}

// get is the value of the first of a map's keys that is there; nil if none is,
// or n is no map.
func (n *node) get(keys ...string) *node {
	for _, m := range n.members {
		for _, k := range keys {
			if m.key == k {
				return m.value
			}
		}
	}
	return nil
}

// string is the value of a key that holds a string, else "".
func (n *node) string(keys ...string) string {
	if v := n.get(keys...); v != nil && v.kind == kindString {
		return v.text
	}
	return ""
}

// scalar is the text of a number or string.
func (n *node) scalar() (string, bool) {
	return n.text, n.kind == kindInt || n.kind == kindNumber || n.kind == kindString
}
