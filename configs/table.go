package configs

import (
	"fmt"
	"sort"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"culvert/configs/field"
)

// FieldTable is the Markdown of docs/configuration-fields.md: each message that
// h names, with what becomes of each of its fields. A name in h that is no
// message or field is an error.
func FieldTable(h field.Honoured) (string, error) {
	if err := CheckNames(h); err != nil {
		return "", err
	}
	var b strings.Builder
	honoured, noOps := fieldSets(h), fieldSets(NoOps())
	for _, name := range sortedKeys(h) {
		md := descriptor(name)
		fmt.Fprintf(&b, "## %s\n\n", name)
		if md.Fields().Len() == 0 {
			b.WriteString("No fields.\n\n")
			continue
		}
		b.WriteString("| Field | Type | |\n|---|---|---|\n")
		for i := range md.Fields().Len() {
			fd := md.Fields().Get(i)
			state := "load error"
			switch {
			case noOps[md.FullName()][fd.Name()]:
				state = "accepted, no effect"
			case honoured[md.FullName()][fd.Name()]:
				state = "honoured"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", fd.Name(), typeName(fd), state)
		}
		b.WriteString("\n")
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// CheckNames reports what in h is no message, or no field of its message.
func CheckNames(h field.Honoured) error {
	var errs []error
	for _, name := range sortedKeys(h) {
		md := descriptor(name)
		if md == nil {
			errs = append(errs, field.Errorf("", "no message is called %s", name))
			continue
		}
		for _, f := range strings.Fields(h[name]) {
			if md.Fields().ByName(protoreflect.Name(f)) == nil {
				errs = append(errs, field.Errorf("", "%s has no field %s", name, f))
			}
		}
	}
	return field.Join(errs...)
}

func descriptor(name string) protoreflect.MessageDescriptor {
	mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		return nil
	}
	return mt.Descriptor()
}

func sortedKeys(h field.Honoured) []string {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// typeName is a field's type in words, messages and enums by their last names.
func typeName(fd protoreflect.FieldDescriptor) string {
	if fd.IsMap() {
		return "map of " + typeName(fd.MapValue())
	}
	name := fd.Kind().String()
	switch {
	case fd.Message() != nil:
		name = string(fd.Message().Name())
	case fd.Enum() != nil:
		name = string(fd.Enum().Name())
	}
	if fd.IsList() {
		return "list of " + name
	}
	return name
}
