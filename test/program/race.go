//go:build race

package program

// Race says whether the tests, and so what Build makes, have the race detector.
const Race = true
