package configs

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// extensionKind is what the extensions in a message's typed_config are called,
// and where Envoy keeps their messages.
func extensionKind(outer protoreflect.FullName) (kind, home string) {
	switch outer {
	case "envoy.config.listener.v3.Filter":
		return "a network filter", "envoy.extensions.filters.network."
	case "envoy.config.listener.v3.ListenerFilter":
		return "a listener filter", "envoy.extensions.filters.listener."
	case "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter":
		return "an HTTP filter", "envoy.extensions.filters.http."
	}
	return "", ""
}

// WrongKind says what is wrong with a message of type name as the typed_config
// of a message of type outer, if it is Envoy's or ours and of another kind of
// extension; empty if nothing is. The fields of what does not belong there are
// no help to anybody.
func WrongKind(outer, name protoreflect.FullName) string {
	kind, home := extensionKind(outer)
	ours := strings.HasPrefix(string(name), "envoy.") || strings.HasPrefix(string(name), "culvert.")
	if kind == "" || !ours || strings.HasPrefix(string(name), home) {
		return ""
	}
	return fmt.Sprintf("'%s' is not %s", name, kind)
}
