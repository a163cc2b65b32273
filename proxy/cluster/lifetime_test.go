package cluster

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A cluster that is quiet keeps nothing: the idle connection ends, the one in
// use ends with its last stream, and a new stream is still served.
func TestPoolQuiesces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPoolRig(t, static1("192.0.2.1:443"))
		r.room = 1
		busy, idle := r.open(t), r.open(t)
		_ = idle.Close()
		r.Quiesce()
		synctest.Wait()
		if got := r.value("upstream_cx_active"); got != 1 {
			t.Errorf("%d connections, want the one in use", got)
		}
		late := r.open(t)
		_ = busy.Close()
		_ = late.Close()
		synctest.Wait()
		if got := r.value("upstream_cx_active"); got != 0 {
			t.Errorf("%d connections are kept", got)
		}
	})
}

// Drain waits for the streams and takes no others.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPoolRig(t, static1("192.0.2.1:443"))
		s := r.open(t)
		time.AfterFunc(5*second, func() { _ = s.Close() })
		began := time.Now()
		r.Drain(t.Context())
		if d := time.Since(began); d != 5*second {
			t.Errorf("drained after %v", d)
		}
		if _, err := r.OpenStream(t.Context(), connectHead(), info()); !errors.Is(err, errDraining) {
			t.Errorf("a stream while draining: %v", err)
		}
		r.Drain(t.Context()) // of nothing
	})
}

func TestDrainDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPoolRig(t, static1("192.0.2.1:443"))
		_ = r.open(t)
		ctx, cancel := context.WithTimeout(t.Context(), second)
		defer cancel()
		r.Drain(ctx)
		if ctx.Err() == nil {
			t.Error("drained with a stream open")
		}
	})
}

// The end of Run ends connections and dials.
func TestRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPoolRig(t, static1("192.0.2.1:443"))
		_ = r.open(t)
		r.made()[0].room = 0
		r.dial = func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
		failed := make(chan error, 1)
		go func() { // ends with the cluster
			_, err := r.OpenStream(context.Background(), connectHead(), info())
			failed <- err
		}()
		synctest.Wait()
		r.stop()
		if err := <-failed; !errors.Is(err, errStopped) {
			t.Errorf("the waiter: %v", err)
		}
		if len(r.allPools()) != 0 {
			t.Error("pools remain")
		}
	})
}
