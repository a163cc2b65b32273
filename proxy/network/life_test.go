package network

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errOver = errors.New("it is over")

type lifeKey struct{}

func livesIn(t *testing.T, ctx context.Context) *Life {
	t.Helper()
	l := NewLife(ctx)
	t.Cleanup(func() { l.End(nil) })
	return l
}

// lifeIs asks all that a context can be asked.
func lifeIs(t *testing.T, ctx context.Context, err, cause error) {
	t.Helper()
	over := false
	select {
	case <-ctx.Done():
		over = true
	default:
	}
	if over != (err != nil) || !errors.Is(ctx.Err(), err) || !errors.Is(context.Cause(ctx), cause) {
		t.Fatalf("done %v, error %v, cause %v; want error %v, cause %v", over, ctx.Err(), context.Cause(ctx), err, cause)
	}
}

// A life ends what began in it, with the first cause, and not what it began in;
// whether anybody had asked for its end or not.
func TestLifeEnds(t *testing.T) {
	for ends := range 3 {
		for _, asked := range []bool{false, true} {
			t.Run(fmt.Sprintf("life %d, asked %v", ends, asked), func(t *testing.T) {
				outer := livesIn(t, context.WithValue(context.Background(), lifeKey{}, "kept"))
				between := livesIn(t, outer)
				lives := []*Life{outer, between, livesIn(t, between)}
				for _, l := range lives {
					if asked {
						lifeIs(t, l, nil, nil)
					}
				}
				lives[ends].End(errOver)
				outer.End(errors.New("another cause"))
				for i, l := range lives[ends:] {
					lifeIs(t, l, context.Canceled, errOver)
					if l.Value(lifeKey{}) != "kept" {
						t.Errorf("the values of life %d are gone", i)
					}
				}
			})
		}
	}
}

// What is around a life goes on after it.
func TestLifeEndsAlone(t *testing.T) {
	outer := livesIn(t, context.Background())
	other := livesIn(t, outer)
	inner := livesIn(t, outer)
	inner.End(errOver)
	lifeIs(t, outer, nil, nil)
	lifeIs(t, other, nil, nil)
	if outer.watches != &other.in || other.in.next != nil {
		t.Error("what is over is still known")
	}
}

// What begins in a life that is over is over.
func TestLifeBeginsTooLate(t *testing.T) {
	l := livesIn(t, t.Context())
	l.End(errOver)
	lifeIs(t, livesIn(t, l), context.Canceled, errOver)
	called := make(chan struct{})
	if stop := AfterEnd(l, func() { close(called) }); stop() {
		t.Error("who asks after the end was still waiting")
	}
	<-called
}

// To the standard library a life is a context like its own.
func TestLifeOfStandardContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outer, cancel := context.WithCancelCause(context.Background())
		l := NewLife(outer)
		within, stop := context.WithTimeout(context.WithValue(l, lifeKey{}, 1), time.Hour)
		defer stop()
		briefly, stopBriefly := context.WithCancel(l)
		stopBriefly()
		lifeIs(t, l, nil, nil)
		lifeIs(t, briefly, context.Canceled, context.Canceled)
		cancel(errOver)
		synctest.Wait()
		lifeIs(t, l, context.Canceled, errOver)
		lifeIs(t, within, context.Canceled, errOver)
		late, stopLate := context.WithCancel(l)
		defer stopLate()
		lifeIs(t, late, context.Canceled, errOver)
	})
}

// Who has stopped waiting is not called; the others are, each once, wherever in
// the list they are.
func TestAfterEndOfLife(t *testing.T) {
	for stopped := range 3 {
		synctest.Test(t, func(t *testing.T) {
			l := NewLife(context.Background())
			var calls [3]atomic.Int32
			var stops [3]func() bool
			for i := range calls {
				stops[i] = AfterEnd(l, func() { calls[i].Add(1) })
			}
			if !stops[stopped]() || stops[stopped]() {
				t.Error("it stops waiting once")
			}
			l.End(errOver)
			l.End(nil)
			synctest.Wait()
			for i := range calls {
				want := int32(1)
				if i == stopped {
					want = 0
				}
				if got := calls[i].Load(); got != want {
					t.Errorf("%d was called %d times, want %d", i, got, want)
				}
				if stops[i]() {
					t.Errorf("%d says that it stopped what has been called", i)
				}
			}
		})
	}
}

// A relay in a life is aborted with its cause, and one that is done no longer
// waits for it.
func TestRelayInLife(t *testing.T) {
	for name, aborted := range map[string]bool{"aborted": true, "done": false} {
		t.Run(name, func(t *testing.T) {
			l := livesIn(t, t.Context())
			down, app := socketPair(t)
			up, origin := socketPair(t)
			result := make(chan RelayResult, 1)
			go func() { result <- Relay(l, down, up, RelayOptions{Meter: &Meter{}}) }() // ends below
			var want error
			if aborted {
				want = errOver
				l.End(errOver)
			} else {
				_, _ = app.CloseWrite(), origin.CloseWrite()
			}
			if res := <-result; !errors.Is(res.Err, want) {
				t.Errorf("the relay ended with %v, want %v", res.Err, want)
			}
			if l.watches != nil {
				t.Error("the life still knows the relay")
			}
		})
	}
}

// A life that is idle is one object, and what waits in it by itself adds none.
func TestLifeIsOneObject(t *testing.T) {
	outer := livesIn(t, t.Context())
	var l *Life
	n := testing.AllocsPerRun(100, func() {
		l = NewLife(outer)
		l.in.stop()
	})
	if n > 1 || l.done != nil {
		t.Errorf("a life in a life is %v objects", n)
	}
}
