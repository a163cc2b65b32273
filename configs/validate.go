package configs

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"culvert/configs/field"
)

// Validate runs the rules of the protos (PGV) on m and on what is in every Any
// below it. The error holds one field error for each rule broken, with paths
// relative to m.
func Validate(m proto.Message) error {
	var errs []error
	walk(m.ProtoReflect(), "", true, func(path string, m protoreflect.Message, root bool) bool {
		// The generated code follows plain messages itself, and stops at an Any.
		v, ok := m.Interface().(interface{ ValidateAll() error })
		if ok && root {
			broken(v.ValidateAll(), m.Descriptor(), path, func(path, reason, fix string) {
				last := path[strings.LastIndexByte(path, '.')+1:]
				err := field.Errorf(path, "Proto constraint validation failed (%s: %s)", last, reason)
				errs = append(errs, field.WithFix(err, fix))
			})
		}
		return true
	})
	return field.Join(errs...)
}

// brokenRule is an error of the generated code. Field is in Go's spelling, with
// an index or a key in brackets; Cause is there for a message below.
type brokenRule interface {
	Field() string
	Reason() string
	Cause() error
}

// broken reports each rule in err, which is about a message of type md at path.
func broken(err error, md protoreflect.MessageDescriptor, path string, report func(path, reason, fix string)) {
	switch err := err.(type) {
	case nil:
	case interface{ AllErrors() []error }:
		for _, e := range err.AllErrors() {
			broken(e, md, path, report)
		}
	case brokenRule:
		name, rest, _ := strings.Cut(err.Field(), "[")
		if rest != "" {
			rest = "[" + rest
		}
		name, below := fieldOfGo(md, name)
		at := join(path, name) + rest
		if cause := err.Cause(); cause != nil && below != nil && isBroken(cause) {
			broken(cause, below, at, report)
			return
		}
		reason := err.Reason()
		if cause := err.Cause(); cause != nil {
			reason += ": " + cause.Error()
		}
		report(at, reason, alternatives(md, name))
	default:
		report(path, err.Error(), "")
	}
}

func isBroken(err error) bool {
	switch err.(type) {
	case brokenRule, interface{ AllErrors() []error }:
		return true
	}
	return false
}

// fieldOfGo is the proto's name of a field or oneof in Go's spelling, and the
// type of the messages in it, if any.
func fieldOfGo(md protoreflect.MessageDescriptor, name string) (string, protoreflect.MessageDescriptor) {
	same := func(n protoreflect.Name) bool {
		return strings.EqualFold(strings.ReplaceAll(string(n), "_", ""), strings.ReplaceAll(name, "_", ""))
	}
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if !same(fd.Name()) {
			continue
		}
		if fd.IsMap() {
			return string(fd.Name()), fd.MapValue().Message()
		}
		return string(fd.Name()), fd.Message()
	}
	for i := range md.Oneofs().Len() {
		if o := md.Oneofs().Get(i); same(o.Name()) {
			return string(o.Name()), nil
		}
	}
	return name, nil
}

// alternatives lists what a oneof may be, if name is one.
func alternatives(md protoreflect.MessageDescriptor, name string) string {
	o := md.Oneofs().ByName(protoreflect.Name(name))
	if o == nil {
		return ""
	}
	names := make([]string, 0, o.Fields().Len())
	for i := range o.Fields().Len() {
		names = append(names, string(o.Fields().Get(i).Name()))
	}
	return "set one of " + strings.Join(names, ", ")
}
