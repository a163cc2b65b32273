// Package culvertv1 holds culvert's own configuration messages. They are
// carried where Envoy carries extensions, by their "@type".
//
// The Go code is generated from the .proto files by configs/culvert/generate.sh.
package culvertv1

//go:generate ../generate.sh
