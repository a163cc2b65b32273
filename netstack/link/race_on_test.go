//go:build race

package link_test

// allocsPerPacket is no bound: under the race detector sync.Pool throws objects
// away on purpose.
const allocsPerPacket = 100
