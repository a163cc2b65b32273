// Package tunnel is a byte tunnel over an HTTP stream (RFC 9110 §9.3.6, RFC
// 9113 §8.5): the side that dials one, the side that terminates one, and the
// Conn that either makes of its stream.
//
// Dialer asks for the tunnel and waits: no byte of the payload goes out before
// the answer says yes (RFC 9931). A no is a *StatusError that says why, from
// Proxy-Status (RFC 9209) where the gateway sends one. Whatever keeps the
// request from the gateway is a *GatewayError: then nothing is known of the
// destination, and the application must not be told that it refused.
//
// It imports the leaves proxy/network and proxy/codec only; what a request head
// looks like reaches it as a function.
package tunnel
