// Package configs reads the configuration language: an Envoy v3 bootstrap in
// YAML or JSON, into validated protobuf messages.
//
// A file is parsed to a tree of nodes that know their lines (yaml.go, json.go),
// the tree is decoded against the messages' descriptors (decode.go), and the
// result is validated through every Any (validate.go). Each step goes on after
// an error, so that a person learns of all of them at once, each with its path,
// its line and, where the usual cause is known, what to write instead.
//
// A field that is set and that no constructor reads is an error too (check.go):
// nothing is ignored in silence but what accepted.go lists.
//
// The package opens no sockets, starts no goroutines and reads no clock.
package configs

//go:generate ./import_envoy.sh
