package configs

import (
	"fmt"
	"sort"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// decoder writes nodes into messages. It goes on after an error; what could not
// be read stays unset.
type decoder struct {
	errs, warnings Errors
	// broken are the places with an error and the messages around them, of
	// which validation then has nothing useful to say.
	broken map[*place]bool
}

func (d *decoder) fail(at *place, message, fix string) {
	if d.broken == nil {
		d.broken = make(map[*place]bool)
	}
	d.broken[at] = true
	if at.parent != nil {
		d.broken[at.parent] = true
	}
	if d.errs.full() {
		d.errs.More++ // and spare the path
		return
	}
	d.errs.add(at.problem(message, fix))
}

func (d *decoder) warn(at *place, message, fix string) {
	d.warnings.add(at.problem(message, fix))
}

func (p *place) problem(message, fix string) Problem {
	return Problem{Path: p.path(), File: p.file, Line: p.line, Message: message, Fix: fix}
}

// document merges n into the bootstrap m, as proto's MergeFrom would: messages
// field by field, lists appended, everything else replaced.
func (d *decoder) document(n *node, m proto.Message, root *place) {
	switch n.kind {
	case kindNull:
	case kindMap:
		d.message(n, m.ProtoReflect(), root, 0)
	default:
		at := *root
		at.file, at.line = n.file, n.line
		d.fail(&at, "a configuration is a map, got "+n.String(), "")
	}
}

// message merges a map into m.
func (d *decoder) message(n *node, m protoreflect.Message, at *place, depth int) {
	if n.kind != kindMap {
		d.fail(at, fmt.Sprintf("wants a map (%s), got %s", m.Descriptor().FullName(), n), "")
		return
	}
	d.members(n, n.members, m, at, depth)
}

// members merges keys into m; n is the map they are of.
func (d *decoder) members(n *node, members []member, m protoreflect.Message, at *place, depth int) {
	if depth > maxDepth {
		d.fail(at, fmt.Sprintf("messages nest deeper than %d levels", maxDepth), "")
		return
	}
	fields := m.Descriptor().Fields()
	set := make(map[protoreflect.FullName]string, len(members))
	for _, mem := range members {
		fd := fieldNamed(fields, mem.key)
		if fd == nil {
			d.unknownField(m.Descriptor(), mem, at, n)
			continue
		}
		if mem.value.kind == kindNull && !holdsNull(fd) {
			continue // null is unset
		}
		child := at.field(string(fd.Name()), mem)
		if d.twice(fd, set, mem.key, child) {
			continue
		}
		d.deprecated(fd, child)
		d.field(n, mem.value, m, fd, child, depth)
	}
}

// fieldNamed finds a field by its name in the proto or in JSON's spelling.
func fieldNamed(fields protoreflect.FieldDescriptors, key string) protoreflect.FieldDescriptor {
	if fd := fields.ByName(protoreflect.Name(key)); fd != nil {
		return fd
	}
	return fields.ByJSONName(key)
}

// twice reports a field given in both spellings, or a second member of a oneof.
func (d *decoder) twice(fd protoreflect.FieldDescriptor, set map[protoreflect.FullName]string, key string, at *place) bool {
	if other, has := set[fd.FullName()]; has {
		d.fail(at, fmt.Sprintf("given twice, as %s and %s", other, key), "keep one spelling")
		return true
	}
	set[fd.FullName()] = key
	oneof := fd.ContainingOneof()
	if oneof == nil || oneof.IsSynthetic() {
		return false
	}
	if other, has := set[oneof.FullName()]; has {
		d.fail(at, fmt.Sprintf("%s cannot stand beside %s: they are alternatives (%s)", key, other, oneof.Name()), "keep one of them")
		return true
	}
	set[oneof.FullName()] = key
	return false
}

// field merges a value into field fd of m; n is the map around it.
func (d *decoder) field(n, value *node, m protoreflect.Message, fd protoreflect.FieldDescriptor, at *place, depth int) {
	switch {
	case fd.IsMap():
		d.mapField(value, m.Mutable(fd).Map(), fd, at, depth)
	case fd.IsList():
		d.listField(n, value, m.Mutable(fd).List(), fd, at, depth)
	case fd.Message() != nil:
		// A failed message stays set, so that "required" is not reported as well.
		d.messageValue(n, value, m.Mutable(fd).Message(), at, n.string("name"), depth)
	default:
		if v, ok := d.scalarValue(value, fd, at); ok {
			m.Set(fd, v)
		}
	}
}

func (d *decoder) listField(n, value *node, list protoreflect.List, fd protoreflect.FieldDescriptor, at *place, depth int) {
	if value.kind != kindList {
		d.fail(at, "wants a list, got "+value.String(), "begin each item with -, or put it in [ ]")
		return
	}
	for _, item := range value.items {
		child := at.item(item)
		switch {
		case item.kind == kindNull && !holdsNull(fd):
			d.fail(child, "an item of a list cannot be null", "remove it, or write {} for an empty one")
			if fd.Message() != nil {
				list.Append(list.NewElement()) // keeps indices and places in step
			}
		case fd.Message() != nil:
			v := list.NewElement()
			d.messageValue(n, item, v.Message(), child, n.string("name"), depth)
			list.Append(v)
		default:
			v, ok := d.scalarValue(item, fd, child)
			if !ok {
				v = list.NewElement() // as above
			}
			list.Append(v)
		}
	}
}

func (d *decoder) mapField(value *node, m protoreflect.Map, fd protoreflect.FieldDescriptor, at *place, depth int) {
	if value.kind != kindMap {
		d.fail(at, "wants a map, got "+value.String(), "")
		return
	}
	for _, mem := range value.members {
		child := at.entry(mem)
		key, ok := d.mapKey(mem, fd.MapKey(), child)
		if !ok {
			continue
		}
		vd := fd.MapValue()
		switch {
		case mem.value.kind == kindNull && !holdsNull(vd):
			d.fail(child, "a value of a map cannot be null", "remove the key, or write {} for an empty value")
		case vd.Message() != nil:
			child.forget()
			v := m.NewValue()
			d.messageValue(value, mem.value, v.Message(), child, mem.key, depth)
			m.Set(key, v)
		default:
			if v, ok := d.scalarValue(mem.value, vd, child); ok {
				m.Set(key, v)
			}
		}
	}
}

// mapKey reads a key, which in the file is always text.
func (d *decoder) mapKey(mem member, kd protoreflect.FieldDescriptor, at *place) (protoreflect.MapKey, bool) {
	text := &node{kind: kindString, text: mem.key, raw: mem.key, file: mem.value.file, line: mem.line}
	v, ok := d.scalarValue(text, kd, at)
	if !ok {
		return protoreflect.MapKey{}, false
	}
	return v.MapKey(), true
}

// messageValue merges a value into m, which may be of a type that JSON writes
// in a way of its own. outer is the map around the value; name is what an
// unknown extension is called in errors.
func (d *decoder) messageValue(outer, value *node, m protoreflect.Message, at *place, name string, depth int) {
	if m.Descriptor().FullName() == "google.protobuf.Any" {
		d.any(outer, value, m, at, name, depth+1)
		return
	}
	if d.wellKnown(value, m, at, depth) {
		return
	}
	d.message(value, m, at, depth+1)
}

// unknownField is a key that is no field.
func (d *decoder) unknownField(md protoreflect.MessageDescriptor, mem member, at *place, n *node) {
	if d.errs.full() {
		d.fail(at, "", "")
		return
	}
	child := &place{parent: at, name: mem.key, index: -1, file: mem.value.file, line: mem.line}
	fix := ""
	switch moved, has := movedFields()[string(md.FullName())+"."+mem.key]; {
	case has:
		fix = moved
	case mem.key == "@type":
		fix = "this field has a fixed type, no extension: remove @type"
	default:
		if near := nearestField(md, mem.key); near != "" {
			fix = "did you mean " + near + "?"
		}
	}
	d.fail(child, fmt.Sprintf("Protobuf message (type %s reason INVALID_ARGUMENT: unknown field %s) has unknown fields",
		md.FullName(), quote(mem.key)), fix)
}

func nearestField(md protoreflect.MessageDescriptor, key string) string {
	names := make([]string, 0, md.Fields().Len())
	for i := range md.Fields().Len() {
		names = append(names, string(md.Fields().Get(i).Name()))
	}
	sort.Strings(names)
	return nearest(key, names)
}
