package configs

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
)

const typeURLPrefix = "type.googleapis.com/"

// any reads an extension's configuration: a map with "@type" beside the fields
// of that type. A TypedStruct of a known type becomes an Any of that type, so
// that nobody further in needs to know it was written so.
func (d *decoder) any(outer, n *node, m protoreflect.Message, at *place, name string, depth int) {
	at.forget()
	if n.kind != kindMap {
		d.fail(at, "wants a map with @type, got "+n.String(), "")
		return
	}
	dst := m.Interface().(*anypb.Any)
	proto.Reset(dst)
	if len(n.members) == 0 {
		return // an Any may be empty
	}
	url := n.get("@type")
	if url == nil || url.kind != kindString {
		d.fail(at, `"@type" is missing`, `add "@type": `+typeURLPrefix+"…")
		return
	}
	body := without(n, "@type")
	inner := d.extension(outer, url.text, at, name, dst)
	if inner == nil {
		return
	}
	if isTypedStruct(inner.Descriptor()) {
		if inner, body = d.typedStruct(outer, n, at, name, dst); inner == nil {
			return
		}
	}
	d.anyBody(body, inner, at, depth)
	d.pack(dst, inner, at)
}

// anyBody merges the keys beside "@type" into m. A type with a JSON of its own
// stands under "value".
func (d *decoder) anyBody(body []member, m protoreflect.Message, at *place, depth int) {
	n := &node{kind: kindMap, members: body, file: at.file, line: at.line}
	if hasOwnJSON(m.Descriptor()) {
		value := n.get("value")
		if value == nil || len(body) != 1 {
			d.fail(at, fmt.Sprintf("%s wants @type and value, nothing else", m.Descriptor().FullName()), "")
			return
		}
		d.messageValue(n, value, m, at, "", depth)
		return
	}
	d.members(n, body, m, at, depth)
}

// pack puts m into dst.
func (d *decoder) pack(dst *anypb.Any, m protoreflect.Message, at *place) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.Interface())
	if err != nil {
		d.fail(at, err.Error(), "")
		return
	}
	dst.TypeUrl, dst.Value = typeURLPrefix+string(m.Descriptor().FullName()), b
}

// extension makes an empty message of the type a URL names; nil if there is no
// such type, which is an error unless the extension says that it is optional.
func (d *decoder) extension(outer *node, url string, at *place, name string, dst *anypb.Any) protoreflect.Message {
	full := url[strings.LastIndexByte(url, '/')+1:]
	if !strings.Contains(url, "/") {
		d.fail(at, fmt.Sprintf("@type %s is no type URL", quote(url)), "write "+typeURLPrefix+url)
		return nil
	}
	mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(full))
	if err == nil {
		return mt.New()
	}
	message := fmt.Sprintf("Didn't find a registered implementation for '%s' with type URL: '%s'", name, full)
	if optional := outer.get("is_optional", "isOptional"); optional != nil && optional.text == "true" {
		d.warn(at, message, "left out, because is_optional is set")
		dst.TypeUrl = typeURLPrefix + full
		return nil
	}
	d.fail(at, message, typeFix(full))
	return nil
}

func isTypedStruct(md protoreflect.MessageDescriptor) bool {
	switch md.FullName() {
	case "xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct":
		return true
	}
	return false
}

// typedStruct finds the type that a TypedStruct names, and the fields it gives.
func (d *decoder) typedStruct(outer, n *node, at *place, name string, dst *anypb.Any) (protoreflect.Message, []member) {
	var body []member
	url := ""
	for _, mem := range n.members {
		switch mem.key {
		case "@type":
		case "type_url", "typeUrl":
			url = mem.value.text
		case "value":
			if mem.value.kind != kindMap && mem.value.kind != kindNull {
				d.fail(at, "the value of a TypedStruct is a map, got "+mem.value.String(), "")
				return nil, nil
			}
			body = mem.value.members
		default:
			d.fail(at, "unknown field "+quote(mem.key)+" of a TypedStruct", "it has type_url and value")
			return nil, nil
		}
	}
	inner := d.extension(outer, url, at, name, dst)
	if inner != nil && (isTypedStruct(inner.Descriptor()) || hasOwnJSON(inner.Descriptor())) {
		d.fail(at, "a TypedStruct of "+string(inner.Descriptor().FullName()), "write that type in @type")
		return nil, nil
	}
	return inner, body
}

func hasOwnJSON(md protoreflect.MessageDescriptor) bool {
	return isWellKnown(md) && md.Name() != "Empty"
}

func without(n *node, key string) []member {
	out := make([]member, 0, len(n.members))
	for _, m := range n.members {
		if m.key != key {
			out = append(out, m)
		}
	}
	return out
}
