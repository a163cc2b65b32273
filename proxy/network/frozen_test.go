package network

import "testing"

func TestFrozen(t *testing.T) {
	conn := NewStreamInfo(1)
	conn.SetFilterState("a", "connection")
	conn.ShareFilterState("b", "shared", SharedTransitive)
	conn.SetMetadata("n", "k", "v")
	x := conn.Child(2)
	x.SetFilterState("a", "exchange")
	f := x.Frozen()
	conn.SetFilterState("c", "later")
	conn.SetMetadata("n", "k", "later")
	for name, want := range map[string]any{"a": "exchange", "b": "shared", "c": nil} {
		if v, _ := f.LookupFilterState(name); v != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
	if got := f.SharedFilterState(); len(got) != 1 || got[0] != "b" {
		t.Errorf("shared: %v", got)
	}
	if f.Metadata["n"]["k"] != "v" || f.Parent != nil || f.ConnectionID != 1 {
		t.Errorf("%+v", f)
	}
}
