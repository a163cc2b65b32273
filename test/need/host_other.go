//go:build !linux

package need

import (
	"errors"
	"testing"
)

var errNotLinux = errors.New("needs Linux")

// Root is for a test that only uid 0 can run.
func Root(t testing.TB) { t.Helper(); demand(t, "root", errNotLinux) }

// Netns is for a test that makes network namespaces in its own process.
func Netns(t testing.TB) { t.Helper(); demand(t, "network namespaces", errNotLinux) }

// TUN is for a test that opens a TUN in a network namespace of its own.
func TUN(t testing.TB) { t.Helper(); demand(t, "TUN", errNotLinux) }

// UserNS is for a test that starts a process in new user namespaces.
func UserNS(t testing.TB) { t.Helper(); demand(t, "user namespaces", errNotLinux) }

// IPv6 is for a test that uses IPv6 in namespaces or on the loopback.
func IPv6(t testing.TB) { t.Helper(); demand(t, "IPv6", errNotLinux) }

// OpenFiles is for a test that holds about n descriptors at once.
func OpenFiles(t testing.TB, _ uint64) { t.Helper(); demand(t, "open files", errNotLinux) }
