package h1

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"culvert/proxy/codec"
)

// Names of the fields the codec writes itself.
const (
	nameHost       = "Host"
	nameConnection = "Connection"
	nameUpgrade    = "Upgrade"
	nameCoding     = "Transfer-Encoding"
	nameLength     = "Content-Length"
)

// appendName writes a field name in the case that is configured.
func (c *conn) appendName(dst []byte, name string) []byte {
	switch c.cfg.HeaderCase {
	case LowerCase:
		for i := range len(name) {
			dst = append(dst, lower(name[i]))
		}
	case ProperCase:
		start := true
		for i := range len(name) {
			b := lower(name[i])
			if start && 'a' <= b && b <= 'z' {
				b -= 'a' - 'A'
			}
			dst = append(dst, b)
			start = name[i] == '-'
		}
	default:
		dst = append(dst, name...)
	}
	return dst
}

func lower(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

func (c *conn) appendField(dst []byte, name, value string) []byte {
	dst = c.appendName(dst, name)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// appendFields writes what the fields say beyond this connection, in their
// order. Of the rest the codec says its own.
func (c *conn) appendFields(dst []byte, fields codec.Fields, skip func(name string) bool) ([]byte, error) {
	for _, f := range fields {
		if codec.ConnectionSpecific(f.Name) || skip(f.Name) {
			continue
		}
		if !codec.ValidName(f.Name) || !codec.ValidValue(f.Value) {
			return nil, fmt.Errorf("invalid field %q", f.Name)
		}
		dst = c.appendField(dst, f.Name, f.Value)
	}
	return dst, nil
}

// appendTrailers writes a trailer section. What may not be in one is left out.
func (c *conn) appendTrailers(dst []byte, t codec.Fields) ([]byte, error) {
	dst, err := c.appendFields(dst, t, forbiddenTrailer)
	if err != nil {
		return nil, fmt.Errorf("trailers: %w", err)
	}
	return append(dst, "\r\n"...), nil
}

// appendRequest writes a request head, and returns how its body is framed. An
// extended CONNECT is an upgrade here (RFC 8441 §5 backwards): of its method
// only GET is left.
func (c *conn) appendRequest(dst []byte, r *codec.Request) ([]byte, framing, error) {
	method := r.Method
	if method == "CONNECT" && r.Protocol != "" {
		method = "GET"
	}
	authority := r.Authority
	if authority == "" {
		authority = r.Header.Get("host")
	}
	target, err := c.target(r, authority)
	if err != nil {
		return nil, framing{}, err
	}
	if !codec.ValidName(method) || disguised(method) {
		return nil, framing{}, fmt.Errorf("invalid method %q", method)
	}
	body, known, err := sendFraming(r)
	if err != nil {
		return nil, framing{}, err
	}
	dst = append(append(append(append(dst, method...), ' '), target...), " HTTP/1.1\r\n"...)
	dst = c.appendField(dst, nameHost, authority)
	connection := ""
	dst, err = c.appendFields(dst, r.Header, func(name string) bool {
		switch {
		case strings.EqualFold(name, "host"):
			return true
		case strings.EqualFold(name, "te"):
			if !strings.EqualFold(r.Header.Get("te"), "trailers") {
				return true // it speaks of the connection it came on
			}
			connection = "TE" // RFC 9110 §10.1.4
			return false
		}
		return r.IsConnect() && strings.EqualFold(name, nameLength)
	})
	if err != nil {
		return nil, framing{}, err
	}
	switch {
	case r.Protocol != "":
		if !codec.ValidValue(r.Protocol) {
			return nil, framing{}, errors.New("invalid upgrade protocol")
		}
		dst = c.appendField(dst, nameUpgrade, r.Protocol)
		connection = strings.TrimSuffix("upgrade, "+connection, ", ")
	case body.kind == chunkedBody:
		dst = c.appendField(dst, nameCoding, "chunked")
	case body.kind == noBody && !known && !r.IsConnect() && (method == "POST" || method == "PUT" || method == "PATCH"):
		dst = c.appendField(dst, nameLength, "0") // RFC 9110 §8.6
	}
	if connection != "" {
		dst = c.appendField(dst, nameConnection, connection)
	}
	return append(dst, "\r\n"...), body, nil
}

// target is the request target (RFC 9112 §3.2).
func (c *conn) target(r *codec.Request, authority string) (string, error) {
	switch {
	case !validAuthority(authority):
		return "", fmt.Errorf("invalid authority %q", authority)
	case r.IsConnect():
		if !authorityWithPort(authority) {
			return "", fmt.Errorf("authority %q of CONNECT is no host:port", authority)
		}
		return authority, nil
	case r.Path == "*" && r.Method == "OPTIONS":
		return "*", nil
	case !visible(r.Path) || r.Path[0] != '/' || strings.Contains(r.Path, "#"):
		return "", fmt.Errorf("invalid path %q", r.Path)
	case !c.cfg.AbsoluteForm || r.Protocol != "":
		return r.Path, nil
	}
	if !codec.ValidName(r.Scheme) {
		return "", fmt.Errorf("invalid scheme %q", r.Scheme)
	}
	return r.Scheme + "://" + authority + r.Path, nil
}

// sendFraming is how the body of a request is sent; known tells that the head
// says its length already.
func sendFraming(r *codec.Request) (body framing, known bool, err error) {
	if r.AsksTunnel() {
		return framing{kind: rawBody}, true, nil
	}
	length, known, err := declaredLength(r.Header)
	switch {
	case err != nil:
		return framing{}, false, err
	case r.EndStream && length > 0:
		return framing{}, false, errTooShort
	case r.EndStream:
		return framing{}, known, nil
	case known:
		return framing{kind: fixedBody, length: length}, true, nil
	}
	return framing{kind: chunkedBody}, false, nil
}

// declaredLength is what a head to be sent says of its body.
func declaredLength(h codec.Fields) (n int64, known bool, err error) {
	values := h.Values(nameLength)
	if len(values) == 0 {
		return 0, false, nil
	}
	n, ok := parseLength(values[0])
	if !ok || len(values) > 1 {
		return 0, false, errors.New("content-length is no length")
	}
	return n, true, nil
}

// answer is how a response is sent.
type answer struct {
	body     framing
	close    bool   // the connection ends behind it
	switched bool   // a tunnel begins behind it
	protocol string // Upgrade of a 101
	length   bool   // the head says its length
	zero     bool   // and is to say that it is 0
}

// appendResponse writes a response head.
func (c *conn) appendResponse(dst []byte, res *codec.Response, a answer) ([]byte, error) {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(res.Status), 10)
	dst = append(dst, ' ')
	dst = append(dst, reasonPhrase(res.Status)...)
	dst = append(dst, "\r\n"...)
	dst, err := c.appendFields(dst, res.Header, func(name string) bool {
		return strings.EqualFold(name, nameLength) && !a.length
	})
	if err != nil {
		return nil, err
	}
	if a.protocol != "" {
		dst = c.appendField(dst, nameUpgrade, a.protocol)
		dst = c.appendField(dst, nameConnection, "upgrade")
	}
	switch {
	case a.body.kind == chunkedBody:
		dst = c.appendField(dst, nameCoding, "chunked")
	case a.zero:
		dst = c.appendField(dst, nameLength, "0")
	}
	if a.close && !a.switched {
		dst = c.appendField(dst, nameConnection, "close")
	}
	return append(dst, "\r\n"...), nil
}
