//go:build race

package examples

// raceEnabled: the tests, and so the binary, are built with the race detector.
const raceEnabled = true
