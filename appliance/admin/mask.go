package admin

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// fieldTree is a field mask, "bootstrap.node,bootstrap.admin", as a tree. A leaf
// has everything below it.
type fieldTree map[protoreflect.Name]fieldTree

func newFieldTree(mask string) fieldTree {
	root := fieldTree{}
	for path := range strings.SplitSeq(mask, ",") {
		at := root
		for name := range strings.SplitSeq(path, ".") {
			next, ok := at[protoreflect.Name(name)]
			if !ok {
				next = fieldTree{}
				at[protoreflect.Name(name)] = next
			}
			at = next
		}
	}
	return root
}

// masked leaves of each message what the mask names; messages of which it names
// nothing are left out.
func masked(parts []proto.Message, mask string) []proto.Message {
	tree := newFieldTree(mask)
	var out []proto.Message
	for _, m := range parts {
		if tree.names(m.ProtoReflect().Descriptor()) {
			tree.trim(m.ProtoReflect())
			out = append(out, m)
		}
	}
	return out
}

func (t fieldTree) names(md protoreflect.MessageDescriptor) bool {
	for name := range t {
		if md.Fields().ByName(name) != nil {
			return true
		}
	}
	return false
}

// trim clears what the tree does not have. An Any is trimmed as what it holds.
func (t fieldTree) trim(m protoreflect.Message) {
	if a, ok := m.Interface().(*anypb.Any); ok {
		if inner, err := a.UnmarshalNew(); err == nil {
			t.trim(inner.ProtoReflect())
			_ = a.MarshalFrom(inner) // what was read can be written
		}
		return
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		below, ok := t[fd.Name()]
		switch {
		case !ok:
			m.Clear(fd)
		case len(below) == 0 || fd.Message() == nil || fd.IsMap():
		case fd.IsList():
			for i := range v.List().Len() {
				below.trim(v.List().Get(i).Message())
			}
		default:
			below.trim(v.Message())
		}
		return true
	})
}
