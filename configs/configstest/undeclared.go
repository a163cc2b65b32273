package configstest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"

	"culvert/configs"
	"culvert/configs/field"
)

// RefusesUndeclared sets each field of each message that h names by reflection,
// alone and to a value that is not zero, and fails t unless Check refuses those
// that h does not declare, at their path, and takes those it does.
func RefusesUndeclared(t testing.TB, h field.Honoured) {
	t.Helper()
	if err := configs.CheckNames(h); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, complaint := range complaints(h, protoreflect.FullName(name), (*configs.Document).Check) {
			t.Error(complaint)
		}
	}
}

// complaints lists what check gets wrong about one message's fields.
func complaints(h field.Honoured, name protoreflect.FullName, check func(*configs.Document, field.Honoured) error) []string {
	mt, err := protoregistry.GlobalTypes.FindMessageByName(name)
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	for i := range mt.Descriptor().Fields().Len() {
		fd := mt.Descriptor().Fields().Get(i)
		m := mt.New()
		setField(m, fd)
		doc, path, declared := wrap(m.Interface(), h)
		refused := refuses(doc, check(doc, declared), strings.TrimPrefix(path+"."+string(fd.Name()), "."))
		taken := strings.Fields(declared[string(name)] + " " + configs.NoOps()[string(name)])
		want := !slices.Contains(taken, string(fd.Name()))
		if refused != want {
			out = append(out, fmt.Sprintf("%s: refused is %t, want %t", fd.FullName(), refused, want))
		}
	}
	return out
}

// wrap puts m into a bootstrap where any message may stand, and declares what is
// around it.
func wrap(m proto.Message, h field.Honoured) (doc *configs.Document, path string, declared field.Honoured) {
	if b, ok := m.(*bootstrapv3.Bootstrap); ok {
		return &configs.Document{Bootstrap: b}, "", h
	}
	packed, err := anypb.New(m)
	if err != nil {
		panic(err) // a message made here can be marshalled
	}
	doc = &configs.Document{Bootstrap: &bootstrapv3.Bootstrap{
		BootstrapExtensions: []*corev3.TypedExtensionConfig{{Name: "x", TypedConfig: packed}},
	}}
	declared = maps.Clone(h)
	declared.Merge(field.Honoured{
		"envoy.config.bootstrap.v3.Bootstrap":       "bootstrap_extensions",
		"envoy.config.core.v3.TypedExtensionConfig": "name typed_config",
	})
	return doc, "bootstrap_extensions[0].typed_config", declared
}

// refuses reports whether err names the path.
func refuses(doc *configs.Document, err error, path string) bool {
	for _, p := range doc.Problems(err) {
		if p.Path == path {
			return true
		}
	}
	return false
}

// setField gives a field a value that counts as set, messages an empty one.
func setField(m protoreflect.Message, fd protoreflect.FieldDescriptor) {
	switch {
	case fd.IsMap():
		key := scalar(fd.MapKey()).MapKey()
		value := m.Mutable(fd).Map().NewValue()
		if fd.MapValue().Message() == nil {
			value = scalar(fd.MapValue())
		}
		m.Mutable(fd).Map().Set(key, value)
	case fd.IsList():
		value := m.Mutable(fd).List().NewElement()
		if fd.Message() == nil {
			value = scalar(fd)
		}
		m.Mutable(fd).List().Append(value)
	case fd.Message() != nil:
		m.Mutable(fd)
	default:
		m.Set(fd, scalar(fd))
	}
}

// scalar is a value that is not zero.
func scalar(fd protoreflect.FieldDescriptor) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("x")
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte("x"))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(1)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(1)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(1)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(1)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(1)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(1)
	default:
		return protoreflect.ValueOfUint64(1)
	}
}
