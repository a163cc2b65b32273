// Package configstest holds what tests of constructors share: the proof that a
// field which no constructor reads cannot be set.
package configstest
