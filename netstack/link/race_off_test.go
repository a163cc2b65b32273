//go:build !race

package link_test

// allocsPerPacket is the bound: the pools of gVisor lose an object now and then.
const allocsPerPacket = 0.05
