package network

import "testing"

func TestHash64(t *testing.T) {
	for s, want := range map[string]uint64{
		"":    0xef46db3751d8e999,
		"a":   0xd24ec4f1a98c6e5b,
		"as":  0x1c330fb2d66be179,
		"asd": 0x631c37ce72a97393,
		// more than one stripe, and what is left of each size
		"Call me Ishmael. Some years ago--never mind how long precisely-": 0x02a2e85470d6fd96,
	} {
		if got := Hash64(s); got != want {
			t.Errorf("Hash64(%q) = %#x, want %#x", s, got, want)
		}
	}
}

func TestHashOfAnExchange(t *testing.T) {
	conn := NewStreamInfo(1)
	if _, ok := conn.Hash(); ok {
		t.Error("a hash out of nothing")
	}
	conn.SetHash(7)
	if h, ok := conn.Child(2).Hash(); !ok || h != 7 {
		t.Errorf("the exchange's hash %d, %v", h, ok)
	}
}
