package tcpproxy

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"culvert/proxy/network"
)

// An upstream that ends is an end for the application, behind every
// byte, and not the end of what the application says.
func TestH01UpstreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, origin := newPipe()
		r := newRig(t, attempts(1), func(context.Context, *network.StreamInfo) (network.Conn, network.Handler, error) {
			return ours, nil, nil
		})
		f, app := newFlow()
		done := make(chan error)
		go func() { done <- r.proxy.ServeFlow(t.Context(), f) }() // ends with both pipes
		_, _ = origin.Write([]byte("the whole answer"))
		_ = origin.CloseWrite()
		if got, err := io.ReadAll(app); err != nil || string(got) != "the whole answer" {
			t.Errorf("the application reads %q, %v", got, err)
		}
		_, _ = app.Write([]byte("still here"))
		_ = app.CloseWrite()
		if got, err := io.ReadAll(origin); err != nil || string(got) != "still here" {
			t.Errorf("the origin reads %q, %v", got, err)
		}
		if err := <-done; err != nil || f.info.Flags != 0 {
			t.Errorf("%v, flags %v", err, f.info.Flags)
		}
	})
}

// When the far half is closed here, by whoever pools or drains it, the
// application is not left alone with it, and is not told that it was an end.
func TestH02UpstreamClosedLocally(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, _ := newPipe()
		r := newRig(t, attempts(1), func(context.Context, *network.StreamInfo) (network.Conn, network.Handler, error) {
			return ours, nil, nil
		})
		f, app := newFlow()
		done := make(chan error)
		go func() { done <- r.proxy.ServeFlow(t.Context(), f) }() // ends with ours
		synctest.Wait()
		ours.Abort(errors.New("the pool is stopped"))
		if _, err := app.Read(make([]byte, 1)); !network.IsReset(err) {
			t.Errorf("the application reads %v", err)
		}
		if err := <-done; err == nil {
			t.Error("the session ended in order")
		}
	})
}
