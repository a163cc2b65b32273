package tcpproxy

import (
	"strings"

	"culvert/configs/field"
	"culvert/proxy/codec"
	"culvert/proxy/format"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// headerToAdd is one of headers_to_add, compiled.
type headerToAdd struct {
	name      string // lower case
	value     *format.Format
	action    corev3.HeaderValueOption_HeaderAppendAction
	keepEmpty bool
}

func newHeaderToAdd(o *corev3.HeaderValueOption) (headerToAdd, error) {
	h := headerToAdd{
		name: strings.ToLower(o.GetHeader().GetKey()), action: o.GetAppendAction(), keepEmpty: o.GetKeepEmptyValue(),
	}
	if a := o.GetAppend(); a != nil && !a.GetValue() { // deprecated: append: false
		h.action = corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
	}
	if err := checkHeaderName(o.GetHeader().GetKey()); err != nil {
		return h, field.At("header.key", err)
	}
	text := o.GetHeader().GetValue()
	if text == "" {
		text = string(o.GetHeader().GetRawValue())
	}
	var err error
	h.value, err = format.Compile(text)
	return h, field.At("header.value", err)
}

// checkHeaderName refuses a field that the request is not to be given.
func checkHeaderName(key string) error {
	name := strings.ToLower(key)
	switch {
	case strings.HasPrefix(name, ":") || name == "host":
		return field.Errorf("", ":-prefixed or host headers may not be modified")
	case !codec.ValidName(name):
		return field.Errorf("", "%q is not a header name", key)
	case isConnectionHeader(name):
		return field.Errorf("", "%s belongs to the connection, not to the request", name)
	}
	return nil
}

// isConnectionHeader names what HTTP/2 forbids (RFC 9113 §8.2.2), what would
// announce a body of a length that a tunnel has not, and what would make the
// gateway wait.
func isConnectionHeader(name string) bool {
	switch name {
	case "te", "content-length", "trailer", "expect":
		return true
	}
	return codec.ConnectionSpecific(name)
}

// apply adds the value as the action says.
func (h *headerToAdd) apply(f *codec.Fields, value string) {
	if value == "" && !h.keepEmpty {
		return
	}
	has := f.Has(h.name)
	switch h.action {
	case corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD:
		f.Add(h.name, value)
	case corev3.HeaderValueOption_ADD_IF_ABSENT:
		if !has {
			f.Add(h.name, value)
		}
	case corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD:
		f.Set(h.name, value)
	case corev3.HeaderValueOption_OVERWRITE_IF_EXISTS:
		if has {
			f.Set(h.name, value)
		}
	}
}
