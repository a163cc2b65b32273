package appliance

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"culvert/proxy/network"
)

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		if err := g.wait(t.Context()); err != nil {
			t.Errorf("an empty gate: %v", err)
		}
		g.enter()
		g.enter()
		results := make(chan error, 2)
		for range cap(results) { // two may wait at once
			go func() { results <- g.wait(t.Context()) }()
		}
		synctest.Wait()
		g.leave()
		g.enter() // while somebody waits
		g.leave()
		synctest.Wait()
		select {
		case err := <-results:
			t.Fatalf("wait returned %v with one inside", err)
		default:
		}
		g.leave()
		for range cap(results) {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestGateWaitEndsWithContext(t *testing.T) {
	var g gate
	g.enter()
	cause := errors.New("time is over")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := g.wait(ctx); !errors.Is(err, cause) {
		t.Errorf("wait: %v, want the context's cause", err)
	}
	g.leave()
	if err := g.wait(t.Context()); err != nil {
		t.Errorf("wait after a wait that was given up: %v", err)
	}
}

// A guarded flow is counted, and ends with its caller's context as with the
// generation's life.
func TestGateGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		life, end := context.WithCancelCause(t.Context())
		h := g.guard(life, network.HandlerFunc(func(ctx context.Context, _ network.Flow) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}))
		mine, cancel := context.WithCancelCause(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- h.ServeFlow(mine, nil) }()
		go func() { second <- h.ServeFlow(t.Context(), nil) }()
		synctest.Wait()
		if g.count != 2 {
			t.Errorf("%d flows inside, want 2", g.count)
		}
		caller := errors.New("the caller has gone")
		cancel(caller)
		if err := <-first; !errors.Is(err, caller) {
			t.Errorf("the flow ended with %v, want its caller's cause", err)
		}
		end(errGenerationEnded)
		if err := <-second; !errors.Is(err, errGenerationEnded) {
			t.Errorf("the flow ended with %v, want %v", err, errGenerationEnded)
		}
		if err := g.wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
