package admin

import (
	"strings"

	"github.com/cncf/xds/go/udpa/annotations"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// redacted stands for what is kept secret.
const redacted = "[redacted]"

// redact takes the secrets out of m, in place, as Envoy does: everything below a
// field that its proto calls sensitive (keys, passwords, session ticket keys),
// its file names too. In addition the values of headers that carry credentials,
// such as the password for the next proxy.
func redact(m proto.Message) { redactMessage(m.ProtoReflect(), false) }

func redactMessage(m protoreflect.Message, secret bool) {
	switch x := m.Interface().(type) {
	case *anypb.Any:
		redactAny(x, secret)
		return
	case *corev3.HeaderValue:
		if isCredential(x.GetKey()) {
			redactHeader(x)
			return
		}
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		hide := secret || isSensitive(fd)
		switch {
		case fd.IsMap():
			redactMap(fd, v.Map(), hide)
		case fd.IsList():
			for i := range v.List().Len() {
				if v := redactValue(fd, v.List().Get(i), hide); v.IsValid() {
					m.Get(fd).List().Set(i, v)
				}
			}
		default:
			if v := redactValue(fd, v, hide); v.IsValid() {
				m.Set(fd, v)
			}
		}
		return true
	})
}

// redactMap keeps the keys: they say what there is.
func redactMap(fd protoreflect.FieldDescriptor, values protoreflect.Map, secret bool) {
	values.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		if v := redactValue(fd.MapValue(), v, secret); v.IsValid() {
			values.Set(k, v)
		}
		return true
	})
}

// redactValue is what to put in the place of v; not valid: v itself, whose
// message is redacted where it is.
func redactValue(fd protoreflect.FieldDescriptor, v protoreflect.Value, secret bool) protoreflect.Value {
	switch {
	case fd.Message() != nil:
		redactMessage(v.Message(), secret)
		return protoreflect.Value{}
	case !secret:
		return protoreflect.Value{}
	case fd.Kind() == protoreflect.StringKind:
		return protoreflect.ValueOfString(redacted)
	case fd.Kind() == protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(redacted))
	}
	return fd.Default()
}

// redactAny looks inside; what it cannot read it does not show.
func redactAny(a *anypb.Any, secret bool) {
	inner, err := a.UnmarshalNew()
	if err == nil {
		redactMessage(inner.ProtoReflect(), secret)
		err = a.MarshalFrom(inner)
	}
	if err != nil {
		a.Reset()
	}
}

func redactHeader(h *corev3.HeaderValue) {
	if h.GetValue() != "" {
		h.Value = redacted
	}
	if len(h.GetRawValue()) > 0 {
		h.RawValue = []byte(redacted)
	}
}

// isCredential knows a header by its name: authorization, proxy-authorization,
// x-api-key, x-auth-token, cookie, x-client-secret.
func isCredential(name string) bool {
	name = strings.ToLower(name)
	for _, part := range []string{"authorization", "api-key", "apikey", "token", "cookie", "secret", "password"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

func isSensitive(fd protoreflect.FieldDescriptor) bool {
	sensitive, _ := proto.GetExtension(fd.Options(), annotations.E_Sensitive).(bool)
	return sensitive
}
