package format

import (
	"errors"
	"slices"
	"strconv"

	"culvert/configs/field"

	"google.golang.org/protobuf/types/known/structpb"
)

// JSON is a compiled json_format: an object whose strings are formats. A string
// that is one operator keeps the operator's type: a number stays a number. It
// is immutable.
type JSON struct {
	root      node
	omitEmpty bool
}

// node appends one JSON value; false and nothing appended if it is missing.
type node interface {
	appendTo(dst []byte, c *Context, omitEmpty bool) ([]byte, bool)
}

// CompileJSON compiles a json_format. Errors are paths within it.
func CompileJSON(s *structpb.Struct, o Options) (*JSON, error) {
	root, err := compileObject(s, o)
	if err != nil {
		return nil, err
	}
	return &JSON{root: root, omitEmpty: o.OmitEmpty}, nil
}

// Append appends the object in one line, without a newline. Keys are sorted. A
// missing value is null, or left out with OmitEmpty.
func (j *JSON) Append(dst []byte, c *Context) []byte {
	dst, _ = j.root.appendTo(dst, c, j.omitEmpty)
	return dst
}

type (
	object []member
	member struct {
		key string // as a JSON string with its colon
		node
	}
	list    []node
	literal string
	leaf    struct{ *Format }
)

func compileObject(s *structpb.Struct, o Options) (object, error) {
	var out object
	var errs []error
	for key, v := range s.GetFields() {
		n, err := compileNode(v, o)
		errs = append(errs, field.At(key, err))
		out = append(out, member{string(append(appendString(nil, key), ':')), n})
	}
	slices.SortFunc(out, func(a, b member) int {
		if a.key < b.key {
			return -1
		}
		return 1
	})
	return out, field.Join(errs...)
}

func compileNode(v *structpb.Value, o Options) (node, error) {
	switch k := v.GetKind().(type) {
	case *structpb.Value_StringValue:
		f, err := CompileWith(k.StringValue, o)
		return leaf{f}, err
	case *structpb.Value_NumberValue:
		return literal(strconv.FormatFloat(k.NumberValue, 'g', -1, 64)), nil
	case *structpb.Value_BoolValue:
		return literal(strconv.FormatBool(k.BoolValue)), nil
	case *structpb.Value_NullValue:
		return literal("null"), nil
	case *structpb.Value_StructValue:
		return compileObject(k.StructValue, o)
	case *structpb.Value_ListValue:
		var out list
		var errs []error
		for i, e := range k.ListValue.GetValues() {
			n, err := compileNode(e, o)
			errs = append(errs, field.At(field.Index("", i), err))
			out = append(out, n)
		}
		return out, field.Join(errs...)
	}
	return nil, errors.New("value of no kind")
}

func (o object) appendTo(dst []byte, c *Context, omitEmpty bool) ([]byte, bool) {
	dst = append(dst, '{')
	start := len(dst)
	for _, m := range o {
		before := len(dst)
		if before > start {
			dst = append(dst, ',')
		}
		dst = append(dst, m.key...)
		var ok bool
		if dst, ok = m.appendTo(dst, c, omitEmpty); ok {
			continue
		}
		if omitEmpty {
			dst = dst[:before]
		} else {
			dst = append(dst, "null"...)
		}
	}
	return append(dst, '}'), true
}

func (l list) appendTo(dst []byte, c *Context, omitEmpty bool) ([]byte, bool) {
	dst = append(dst, '[')
	for i, n := range l {
		if i > 0 {
			dst = append(dst, ',')
		}
		var ok bool
		if dst, ok = n.appendTo(dst, c, omitEmpty); !ok {
			dst = append(dst, "null"...) // a list keeps its places
		}
	}
	return append(dst, ']'), true
}

func (l literal) appendTo(dst []byte, _ *Context, _ bool) ([]byte, bool) {
	return append(dst, l...), true
}

func (l leaf) appendTo(dst []byte, c *Context, _ bool) ([]byte, bool) { return l.appendJSON(dst, c) }
