package tunnel

import "culvert/proxy/codec"

// Mode is how a tunnel is asked for.
type Mode uint8

// The modes.
const (
	// ModeConnect is a CONNECT request (RFC 9110 §9.3.6).
	ModeConnect Mode = iota
	// ModePost is a POST whose body and response body are the two directions,
	// for proxies that know no CONNECT (Envoy's use_post).
	ModePost
)

func (m Mode) String() string { return [...]string{"CONNECT", "POST"}[m] }

// ModeOf is the mode that a request head asks for.
func ModeOf(head *codec.Request) Mode {
	if head.Method == "POST" {
		return ModePost
	}
	return ModeConnect
}

// established says whether an answer opens the tunnel. HTTP/1.1 takes any 2xx
// (RFC 9110 §9.3.6); HTTP/2 and HTTP/3 exactly 200, as Envoy does. An answer
// that ends the stream carries no tunnel.
func established(proto codec.Proto, res *codec.Response) bool {
	switch proto {
	case codec.HTTP10, codec.HTTP11:
		return res.Success()
	default:
		return res.Status == 200 && !res.EndStream
	}
}
