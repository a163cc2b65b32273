package internallisteners

import (
	"context"
	"errors"
	"sync"
	"testing"

	"culvert/proxy/network"
)

func handlerOf(err error) network.Handler {
	return network.HandlerFunc(func(context.Context, network.Flow) error { return err })
}

func TestLookup(t *testing.T) {
	r := NewRegistry()
	if _, ok := r.Lookup("decap"); ok {
		t.Fatal("an empty registry knows decap")
	}
	want := errors.New("this one")
	m := map[string]network.Handler{"decap": handlerOf(want)}
	r.Replace(m)
	delete(m, "decap") // the registry has its own copy
	h, ok := r.Lookup("decap")
	if !ok {
		t.Fatal("decap is not found")
	}
	if err := h.ServeFlow(t.Context(), nil); !errors.Is(err, want) {
		t.Fatalf("served by another handler: %v", err)
	}
	var _ network.HandlerLookup = r.Lookup
}

// A listener that is gone is not found.
func TestK04ReplaceForgets(t *testing.T) {
	r := NewRegistry()
	r.Replace(map[string]network.Handler{"a": handlerOf(nil)})
	r.Replace(map[string]network.Handler{"b": handlerOf(nil)})
	if _, ok := r.Lookup("a"); ok {
		t.Error("a is still found")
	}
	if _, ok := r.Lookup("b"); !ok {
		t.Error("b is not found")
	}
}

// A reader sees one whole generation, never a mixture.
func TestReplaceIsAtomic(t *testing.T) {
	r := NewRegistry()
	both := map[string]network.Handler{"a": handlerOf(nil), "b": handlerOf(nil)}
	r.Replace(both)
	var wg sync.WaitGroup
	wg.Go(func() { // ends after its 1000 rounds
		for range 1000 {
			r.Replace(both)
		}
	})
	for range 1000 {
		_, a := r.Lookup("a")
		_, b := r.Lookup("b")
		if !a || !b {
			t.Fatalf("a %v, b %v", a, b)
		}
	}
	wg.Wait()
}
