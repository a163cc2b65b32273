// Package router is the terminal HTTP filter: it does what the route says. A
// CONNECT (or a POST, where allow_post says so) that ends here gets its far
// half opened first and its 200 then, so that a client learns what happened at
// the destination; other requests go to the cluster as HTTP; direct responses
// and redirects are answered.
//
// The router never moves the bytes of a tunnel: it leaves the far half in
// Exchange.Upstream, and the connection manager relays once the filters have
// returned. The one thing it moves is the body of an ordinary request, which an
// upstream may want whole before it answers. Of a CONNECT or an upgrade nothing
// is read before the answer says yes (RFC 9931).
package router
