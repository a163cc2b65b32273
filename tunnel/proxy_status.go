package tunnel

import (
	"strings"

	"culvert/proxy/network"

	"github.com/dunglas/httpsfv"
)

// maxDetails bounds the details parameter, bytes: it is for a person.
const maxDetails = 200

// ProxyStatus is a Proxy-Status field value (RFC 9209) of the intermediary
// name, that says why it could not connect. details may be empty; what a
// structured string cannot hold (RFC 9651 §3.3.3: ASCII without controls) is
// replaced.
func ProxyStatus(name string, r network.Reason, details string) string {
	item := httpsfv.NewItem(name)
	if validToken(name) {
		item = httpsfv.NewItem(httpsfv.Token(name))
	} else {
		item.Value = printable(name)
	}
	item.Params.Add("error", httpsfv.Token(r.Token()))
	if details != "" {
		item.Params.Add("details", printable(details))
	}
	s, err := httpsfv.Marshal(httpsfv.List{item})
	if err != nil {
		return "" // cannot happen: name and parameters are valid by now
	}
	return s
}

// ParseProxyStatus finds the reason in the lines of a Proxy-Status field. The
// first member with an error type we know decides: it is the one closest to
// the destination (RFC 9209 §2). False if there is none, or the field is
// malformed.
func ParseProxyStatus(lines []string) (network.Reason, bool) {
	if len(lines) == 0 {
		return network.ReasonUnknown, false
	}
	list, err := httpsfv.UnmarshalList(lines)
	if err != nil {
		return network.ReasonUnknown, false
	}
	for _, m := range list {
		item, ok := m.(httpsfv.Item)
		if !ok {
			continue
		}
		v, ok := item.Params.Get("error")
		if !ok {
			continue
		}
		token, ok := v.(httpsfv.Token)
		if !ok {
			continue
		}
		if r, ok := network.ReasonForToken(string(token)); ok {
			return r, true
		}
	}
	return network.ReasonUnknown, false
}

// validToken is sf-token of RFC 9651 §3.3.4.
func validToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '*':
		case i > 0 && ('0' <= c && c <= '9' || strings.IndexByte("!#$%&'+-.^_`|~:/", c) >= 0):
		default:
			return false
		}
	}
	return s != ""
}

// printable is s as a structured string can hold it, bounded.
func printable(s string) string {
	if len(s) > maxDetails {
		s = s[:maxDetails]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
