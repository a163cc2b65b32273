package network

import (
	"slices"
	"testing"
)

// TestK16 passes two hops.
func TestK16FilterStateCrossesAsFarAsItIsShared(t *testing.T) {
	conn := NewStreamInfo(1)
	conn.SetFilterState("stays", "a")
	conn.ShareFilterState("once", "b", SharedOnce)
	conn.ShareFilterState("twice", "c", SharedTransitive)
	exchange := conn.Child(2)
	exchange.ShareFilterState("own", "d", SharedOnce)
	exchange.ShareFilterState("once", "nearer", SharedOnce)
	if got := exchange.SharedFilterState(); !slices.Equal(got, []string{"once", "own", "twice"}) {
		t.Fatalf("shared: %v", got)
	}

	first := exchange.Inner(3)
	exchange.PassFilterState(first)
	second := first.Child(4).Inner(5)
	first.PassFilterState(second)
	for _, c := range []struct {
		hop  string
		info *StreamInfo
		want map[string]any
	}{
		{"first", first, map[string]any{"once": "nearer", "twice": "c", "own": "d"}},
		{"second", second, map[string]any{"twice": "c"}},
	} {
		if len(c.info.FilterState) != len(c.want) {
			t.Errorf("%s hop: %v, want %v", c.hop, c.info.FilterState, c.want)
		}
		for name, want := range c.want {
			if got := c.info.FilterState.Get(name); got != want {
				t.Errorf("%s hop: %s is %v, want %v", c.hop, name, got, want)
			}
		}
	}
}

func TestLookupFilterStateStaysOnTheConnection(t *testing.T) {
	outer := NewStreamInfo(1)
	outer.SetFilterState("outer", 1)
	inner := outer.Inner(2)
	inner.SetFilterState("inner", 2)
	exchange := inner.Child(3)
	if v, ok := exchange.LookupFilterState("inner"); !ok || v != 2 {
		t.Errorf("the connection's: %v, %v", v, ok)
	}
	if v, ok := exchange.LookupFilterState("outer"); ok {
		t.Errorf("the outer flow's state came along: %v", v)
	}
}
