package configs

import (
	"fmt"

	"github.com/envoyproxy/go-control-plane/envoy/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// deprecated warns of a field that Envoy will remove, and refuses one that Envoy
// refuses already.
func (d *decoder) deprecated(fd protoreflect.FieldDescriptor, at *place) {
	options, ok := fd.Options().(*descriptorpb.FieldOptions)
	if !ok || !options.GetDeprecated() {
		return
	}
	what := fmt.Sprintf("Using deprecated option '%s' from file %s", fd.FullName(), fd.ParentFile().Path())
	d.outdated(at, what, has(options, annotations.E_DisallowedByDefault))
}

// deprecatedValue is the same for a value of an enum.
func (d *decoder) deprecatedValue(ed protoreflect.EnumDescriptor, n protoreflect.EnumNumber, at *place) {
	v := ed.Values().ByNumber(n)
	if v == nil {
		return
	}
	options, ok := v.Options().(*descriptorpb.EnumValueOptions)
	if !ok || !options.GetDeprecated() {
		return
	}
	what := fmt.Sprintf("Using deprecated value %s for enum '%s' from file %s", v.Name(), ed.FullName(), ed.ParentFile().Path())
	d.outdated(at, what, has(options, annotations.E_DisallowedByDefaultEnum))
}

func (d *decoder) outdated(at *place, what string, refused bool) {
	if refused {
		d.fail(at, what+", which is disallowed by default", "")
		return
	}
	d.warn(at, what+". This configuration will be removed from Envoy soon", "")
}

func has(options proto.Message, flag protoreflect.ExtensionType) bool {
	set, ok := proto.GetExtension(options, flag).(bool)
	return ok && set
}
