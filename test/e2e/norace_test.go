//go:build !race

package e2e

// raceEnabled: the tests, and so the binary, are built with the race detector.
const raceEnabled = false
