package configs

import (
	"sort"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// Walk calls visit for m and each message below it, through every Any, fields
// in the order of the proto, keys of maps sorted. path is relative to m; a
// message inside an Any has the path of the Any, which is not visited itself.
// visit returns whether to go on below the message. Well-known types are
// visited and not entered. The messages must not be changed: those out of an
// Any are copies.
func Walk(m proto.Message, visit func(path string, m proto.Message) bool) {
	walk(m.ProtoReflect(), "", true, func(path string, m protoreflect.Message, _ bool) bool {
		return visit(path, m.Interface())
	})
}

// visitor also learns whether m is a root: the message the walk began with, or
// one out of an Any.
type visitor func(path string, m protoreflect.Message, root bool) bool

func walk(m protoreflect.Message, path string, root bool, visit visitor) {
	if a, ok := m.Interface().(*anypb.Any); ok {
		if inner, err := a.UnmarshalNew(); err == nil { // else empty, or optional and unknown
			walk(inner.ProtoReflect(), path, true, visit)
		}
		return
	}
	if !visit(path, m, root) || isWellKnown(m.Descriptor()) {
		return
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		if fd := fields.Get(i); m.Has(fd) {
			below(m.Get(fd), fd, join(path, string(fd.Name())), func(path string, m protoreflect.Message) {
				walk(m, path, false, visit)
			})
		}
	}
}

func isWellKnown(md protoreflect.MessageDescriptor) bool {
	return md.FullName().Parent() == "google.protobuf"
}

// below calls each for the messages in the value of one field.
func below(v protoreflect.Value, fd protoreflect.FieldDescriptor, path string, each func(string, protoreflect.Message)) {
	switch {
	case fd.IsMap():
		if fd.MapValue().Message() == nil {
			return
		}
		var keys []string
		values := make(map[string]protoreflect.Message)
		v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			keys = append(keys, k.String())
			values[k.String()] = v.Message()
			return true
		})
		sort.Strings(keys)
		for _, k := range keys {
			each(path+"["+k+"]", values[k])
		}
	case fd.Message() == nil:
	case fd.IsList():
		for i := range v.List().Len() {
			each(path+"["+strconv.Itoa(i)+"]", v.List().Get(i).Message())
		}
	default:
		each(path, v.Message())
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
