package configs

import (
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
)

// wellKnown reads a value of a type that JSON writes in a way of its own, and
// reports whether m is of one. Any is not among them.
func (d *decoder) wellKnown(n *node, m protoreflect.Message, at *place, depth int) bool {
	switch m.Descriptor().FullName() {
	case "google.protobuf.BoolValue", "google.protobuf.StringValue", "google.protobuf.BytesValue",
		"google.protobuf.DoubleValue", "google.protobuf.FloatValue", "google.protobuf.Int32Value",
		"google.protobuf.Int64Value", "google.protobuf.UInt32Value", "google.protobuf.UInt64Value":
		fd := m.Descriptor().Fields().ByName("value")
		if v, ok := d.scalarValue(n, fd, at); ok {
			m.Set(fd, v)
		}
	case "google.protobuf.Duration":
		d.text(n, m, at, "wants a duration such as 1.5s", durationFix(n))
	case "google.protobuf.Timestamp":
		d.text(n, m, at, "wants a time such as 2006-01-02T15:04:05Z", "")
	case "google.protobuf.FieldMask":
		d.text(n, m, at, "wants field names separated by commas", "")
	case "google.protobuf.Struct", "google.protobuf.ListValue", "google.protobuf.Value":
		d.value(n, m, at, depth)
	default:
		return false
	}
	return true
}

// text lets protojson read the types that JSON writes as one string.
func (d *decoder) text(n *node, m protoreflect.Message, at *place, wants, fix string) {
	if n.kind != kindString {
		d.fail(at, wants+", got "+n.String(), fix)
		return
	}
	fresh := m.New().Interface()
	quoted, err := protojson.Marshal(structpb.NewStringValue(n.text))
	if err == nil {
		err = protojson.Unmarshal(quoted, fresh)
	}
	if err != nil {
		d.fail(at, wants+", got "+n.String(), fix)
		return
	}
	proto.Reset(m.Interface())
	proto.Merge(m.Interface(), fresh)
}

// durationFix turns 5, 5m or 100ms into what JSON asks for.
func durationFix(n *node) string {
	text, ok := n.scalar()
	if !ok {
		return ""
	}
	if n.kind != kindString {
		text += "s"
	}
	dur, err := time.ParseDuration(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		return "write seconds with an s"
	}
	s := strings.TrimRight(strings.TrimRight(formatSeconds(dur), "0"), ".")
	return "write seconds with an s: " + s + "s"
}

// value reads a Struct, ListValue or Value.
func (d *decoder) value(n *node, m protoreflect.Message, at *place, depth int) {
	if depth+nesting(n, maxDepth) > maxDepth {
		d.fail(at, "values nest too deep", "")
		return
	}
	switch m := m.Interface().(type) {
	case *structpb.Struct:
		if n.kind != kindMap {
			d.fail(at, "wants a map, got "+n.String(), "")
			return
		}
		if m.Fields == nil {
			m.Fields = make(map[string]*structpb.Value)
		}
		for _, mem := range n.members {
			m.Fields[mem.key] = structValue(mem.value)
		}
	case *structpb.ListValue:
		if n.kind != kindList {
			d.fail(at, "wants a list, got "+n.String(), "")
			return
		}
		for _, item := range n.items {
			m.Values = append(m.Values, structValue(item))
		}
	case *structpb.Value:
		m.Kind = structValue(n).Kind
	}
}

// structValue is n as Envoy reads it: 32-bit integers are numbers, other
// numbers of YAML strings.
func structValue(n *node) *structpb.Value {
	switch n.kind {
	case kindNull:
		return structpb.NewNullValue()
	case kindBool:
		return structpb.NewBoolValue(n.text == "true")
	case kindInt, kindNumber:
		if f, message := readFloat(n, 64); message == "" {
			return structpb.NewNumberValue(f)
		}
		return structpb.NewStringValue(n.text)
	case kindList:
		list := &structpb.ListValue{Values: make([]*structpb.Value, 0, len(n.items))}
		for _, item := range n.items {
			list.Values = append(list.Values, structValue(item))
		}
		return structpb.NewListValue(list)
	case kindMap:
		s := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(n.members))}
		for _, mem := range n.members {
			s.Fields[mem.key] = structValue(mem.value)
		}
		return structpb.NewStructValue(s)
	}
	return structpb.NewStringValue(n.text)
}

// nesting is how deep n nests, at most limit+1.
func nesting(n *node, limit int) int {
	if limit < 0 {
		return 0
	}
	deepest := 0
	for _, item := range n.items {
		deepest = max(deepest, 1+nesting(item, limit-1))
	}
	for _, mem := range n.members {
		deepest = max(deepest, 1+nesting(mem.value, limit-1))
	}
	return deepest
}

// holdsNull reports whether null is a value of the field, and not its absence.
func holdsNull(fd protoreflect.FieldDescriptor) bool {
	md := fd.Message()
	return md != nil && !fd.IsMap() && md.FullName() == "google.protobuf.Value"
}
