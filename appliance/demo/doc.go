// Package demo shows the main job on any Linux machine in under a minute, and
// proves it: a program whose only way out is a TUN, a culvert that captures and
// tunnels, a culvert gateway over TLS, and an origin, each in a network
// namespace of its own. It is made of product code: package host makes the
// namespaces, and the two culverts are this very binary.
package demo
