package tunnel

import (
	"strings"

	"culvert/proxy/codec"
)

// Method is how a tunnel is asked for.
type Method uint8

// The methods.
const (
	// MethodConnect is a CONNECT request (RFC 9110 §9.3.6).
	MethodConnect Method = iota
	// MethodPost is a POST whose body and response body are the two directions,
	// for proxies that know no CONNECT (Envoy's use_post).
	MethodPost
)

func (m Method) String() string { return [...]string{"CONNECT", "POST"}[m] }

// MethodOf is the method that a request head asks with.
func MethodOf(head *codec.Request) Method {
	if head.Method == "POST" {
		return MethodPost
	}
	return MethodConnect
}

// Mode is how a tunnel is carried: what can be said on it, and how, depends on
// all three (docs/tunnel-modes.md).
type Mode struct {
	Proto  codec.Proto
	Method Method
	// Secure: the connection that carries it is TLS.
	Secure bool
}

// Modes are all there are.
func Modes() []Mode {
	var all []Mode
	for _, p := range []codec.Proto{codec.HTTP11, codec.HTTP2} {
		for _, m := range []Method{MethodConnect, MethodPost} {
			all = append(all, Mode{p, m, false}, Mode{p, m, true})
		}
	}
	return all
}

// String names a mode so that it can be part of a test's name: HTTP2-CONNECT-TLS.
func (m Mode) String() string {
	s := strings.NewReplacer("/", "", ".", "").Replace(m.Proto.String()) + "-" + m.Method.String()
	if m.Secure {
		s += "-TLS"
	}
	return s
}

// Shared reports that several tunnels share a connection.
func (m Mode) Shared() bool { return m.Proto == codec.HTTP2 || m.Proto == codec.HTTP3 }

// Raw reports that the payload is the connection itself, so that its ends are
// the connection's: HTTP/1.1 CONNECT.
func (m Mode) Raw() bool { return !m.Shared() && m.Method == MethodConnect }

// Trailers reports that the peer's direction can end with trailers.
func (m Mode) Trailers() bool { return !m.Raw() }

// established says whether an answer opens the tunnel. HTTP/1.1 takes any 2xx
// (RFC 9110 §9.3.6); HTTP/2 and HTTP/3 exactly 200, as Envoy does. An answer
// that ends the stream carries no tunnel.
func established(proto codec.Proto, res *codec.Response) bool {
	switch {
	case res.EndStream:
		return false
	case proto == codec.HTTP10, proto == codec.HTTP11:
		return res.Success()
	default:
		return res.Status == 200
	}
}
