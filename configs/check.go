package configs

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"culvert/configs/field"
)

// Check reports every field that is set and that h does not declare: nothing of
// a configuration is ignored in silence. Well-known types (durations, wrappers,
// Struct) need no declaration, and neither do the fields in accepted.go. The
// error is an *Errors.
func (d *Document) Check(h field.Honoured) error {
	c := checker{doc: d, honoured: fieldSets(h), accepted: fieldSets(NoOps())}
	c.message(d.Bootstrap.ProtoReflect(), "")
	return c.errs.orNil()
}

type checker struct {
	doc                *Document
	honoured, accepted map[protoreflect.FullName]map[protoreflect.Name]bool
	errs               Errors
}

// fieldSets makes the space separated lists quick to ask.
func fieldSets(h field.Honoured) map[protoreflect.FullName]map[protoreflect.Name]bool {
	out := make(map[protoreflect.FullName]map[protoreflect.Name]bool, len(h))
	for msg, names := range h {
		set := make(map[protoreflect.Name]bool)
		for _, name := range strings.Fields(names) {
			set[protoreflect.Name(name)] = true
		}
		out[protoreflect.FullName(msg)] = set
	}
	return out
}

func (c *checker) fail(path, message, fix string) {
	p := c.doc.At(path)
	p.Message, p.Fix = message, fix
	c.errs.add(p)
}

func (c *checker) message(m protoreflect.Message, path string) {
	md := m.Descriptor()
	if isWellKnown(md) {
		return
	}
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if !m.Has(fd) {
			continue
		}
		at := join(path, string(fd.Name()))
		if c.accepted[md.FullName()][fd.Name()] {
			continue
		}
		if !c.honoured[md.FullName()][fd.Name()] {
			c.fail(at, fmt.Sprintf("field %q is not supported by culvert (%s)", fd.Name(), md.FullName()), "remove it")
			continue
		}
		below(m.Get(fd), fd, at, func(path string, inner protoreflect.Message) { c.below(m, inner, path) })
	}
}

// below checks a message in a field of outer.
func (c *checker) below(outer, m protoreflect.Message, path string) {
	a, ok := m.Interface().(*anypb.Any)
	if !ok {
		c.message(m, path)
		return
	}
	if a.GetTypeUrl() == "" {
		return
	}
	name := a.MessageName()
	if wrong := WrongKind(outer.Descriptor().FullName(), name); wrong != "" {
		c.fail(path, wrong, "")
		return
	}
	if _, known := c.honoured[name]; !known && !isWellKnownName(name) {
		if !isOptional(outer) {
			c.fail(path, fmt.Sprintf("Didn't find a registered implementation for '%s' with type URL: '%s'", extensionName(outer, path), name),
				"culvert does not have this extension")
		}
		return
	}
	inner, err := a.UnmarshalNew()
	if err != nil {
		c.fail(path, err.Error(), "")
		return
	}
	c.message(inner.ProtoReflect(), path)
}

func isWellKnownName(name protoreflect.FullName) bool { return name.Parent() == "google.protobuf" }

// extensionName is the name beside an Any, or its key in a map.
func extensionName(outer protoreflect.Message, path string) string {
	if at := strings.LastIndexByte(path, '['); at >= 0 && strings.HasSuffix(path, "]") {
		return path[at+1 : len(path)-1]
	}
	if named, ok := outer.Interface().(interface{ GetName() string }); ok {
		return named.GetName()
	}
	return ""
}

// isOptional reports whether an extension may be left out if it is unknown.
func isOptional(m protoreflect.Message) bool {
	o, ok := m.Interface().(interface{ GetIsOptional() bool })
	return ok && o.GetIsOptional()
}
