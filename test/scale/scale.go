// Package scale lets one test be run small, in every `make test`, and as large
// as what it shows is promised for, by `make test-load`; both print figures.
//
// Such tests are named TestLoad…, call need.Long, and print what they measured
// with Figure.
package scale

import (
	"os"
	"testing"
	"time"
)

// variable asks for full size.
const variable = "CULVERT_TEST_LOAD"

// Full reports whether tests are to run as large as what they show is promised
// for.
func Full() bool { return os.Getenv(variable) != "" }

// Of is small, or full where that is asked for.
func Of(small, full int) int {
	if Full() {
		return full
	}
	return small
}

// For is small, or full where that is asked for.
func For(small, full time.Duration) time.Duration {
	if Full() {
		return full
	}
	return small
}

// Figure tells what a test measured. It is printed although the test passes.
func Figure(t testing.TB, format string, args ...any) {
	t.Helper()
	t.Logf("figure: "+format, args...)
}
