package h1

import (
	"strconv"
	"strings"

	"culvert/proxy/codec"
)

// parseTarget reads a request target (RFC 9112 §3.2) into r. An authority that
// the target names stays: Host says nothing beside it.
func parseTarget(r *codec.Request, target string) error {
	switch {
	case !visible(target):
		return bad("invalid request target")
	case r.Method == "CONNECT":
		if !authorityWithPort(target) {
			return bad("target of CONNECT is no host:port")
		}
		r.Authority = target
		return nil
	case target[0] == '/':
		r.Path, r.HasPath = target, true
	case target == "*":
		if r.Method != "OPTIONS" {
			return bad("target * is for OPTIONS")
		}
		r.Path, r.HasPath = target, true
	default:
		return parseAbsolute(r, target)
	}
	if strings.Contains(target, "#") {
		return bad("request target with a fragment")
	}
	return nil
}

// parseAbsolute reads the absolute-form: an http or https URI.
func parseAbsolute(r *codec.Request, target string) error {
	scheme, rest, ok := strings.Cut(target, "://")
	scheme = strings.ToLower(scheme)
	if !ok || (scheme != "http" && scheme != "https") {
		return bad("invalid request target")
	}
	authority, path := rest, ""
	if at := strings.IndexAny(rest, "/?#"); at >= 0 {
		authority, path = rest[:at], rest[at:]
	}
	switch {
	case authority == "" || !validAuthority(authority):
		return bad("invalid authority in the request target")
	case strings.Contains(path, "#"):
		return bad("request target with a fragment")
	case path == "" && r.Method == "OPTIONS":
		path = "*" // RFC 9112 §3.2.4
	case path == "" || path[0] == '?':
		path = "/" + path
	}
	r.Scheme, r.Authority, r.Path, r.HasPath = scheme, authority, path, true
	return nil
}

// validAuthority reports whether s is a host with or without a port, as in a
// URI (RFC 3986 §3.2) but without user information.
func validAuthority(s string) bool {
	host, port, hasPort := splitAuthority(s)
	if hasPort && port != "" && !validPort(port) {
		return false
	}
	return validHost(host)
}

// authorityWithPort is what CONNECT asks for (RFC 9112 §3.2.3).
func authorityWithPort(s string) bool {
	host, port, _ := splitAuthority(s)
	return validHost(host) && validPort(port)
}

// splitAuthority cuts the port off.
func splitAuthority(s string) (host, port string, hasPort bool) {
	at := strings.LastIndexByte(s, ':')
	if at < 0 || strings.HasSuffix(s, "]") {
		return s, "", false
	}
	return s[:at], s[at+1:], true
}

func validPort(s string) bool {
	if s == "" || len(s) > 5 || s[0] == '+' || s[0] == '-' {
		return false
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// validHost reports whether s is an IP literal in brackets or a registered name
// (RFC 3986 §3.2.2), which an IPv4 address is too.
func validHost(s string) bool {
	if strings.HasPrefix(s, "[") {
		return len(s) > 2 && s[len(s)-1] == ']' && only(s[1:len(s)-1], "0123456789abcdefABCDEF:.%-_~"+letters)
	}
	return s != "" && only(s, letters+"0123456789-._~%!$&'()*+,;=")
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func only(s, set string) bool {
	for i := range len(s) {
		if strings.IndexByte(set, s[i]) < 0 {
			return false
		}
	}
	return true
}

// visible reports whether s is there and is visible ASCII only.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}
