package main

import "testing"

// Memory is given back once after each busy time that was worth it.
func TestIdleMemory(t *testing.T) {
	given := 0
	m := newIdleMemory(func() { given++ })
	allocated := uint64(0)
	for i, c := range []struct {
		allocs uint64
		want   int
	}{
		{4 << 20, 0},   // busy
		{1 << 10, 0},   // idle, and little to give
		{64 << 20, 0},  // busy
		{1 << 10, 1},   // idle
		{1 << 10, 1},   // still idle
		{2 << 20, 1},   // busy
		{1 << 10, 1},   // not worth it
		{100 << 20, 1}, // busy
		{100 << 20, 1}, // busy
		{0, 2},
	} {
		allocated += c.allocs
		m.look(allocated)
		if given != c.want {
			t.Errorf("look %d: given back %d times, want %d", i, given, c.want)
		}
	}
}
