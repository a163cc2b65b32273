//go:build !race

package program

// Race: the tests, and so what Build makes, are built with the race detector.
const Race = false
