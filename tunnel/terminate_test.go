package tunnel

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

var errNo = network.WithReason(network.ReasonConnectionRefused, errors.New("no"))

func TestServeAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := newFakeStream(codec.HTTP2)
		served, err := Serve(t.Context(), network.HandlerFunc(func(ctx context.Context, f network.Flow) error {
			c, err := f.Accept(ctx)
			if err != nil {
				return err
			}
			again, _ := f.Accept(ctx)
			if again != c {
				t.Error("a second Accept gave another Conn")
			}
			f.Reject(errNo) // too late: nothing happens
			_, err = c.Write([]byte("hello"))
			return errors.Join(err, c.Close())
		}), network.NewStreamInfo(1))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(stream.written) != 0 {
			t.Error("bytes before the head is sent")
		}
		served.Established(NewConn(stream), nil)
		<-served.Done
		if string(stream.written) != "hello" || !stream.closed {
			t.Errorf("wrote %q, closed %v", stream.written, stream.closed)
		}
	})
}

func TestServeAcceptButHeadLost(t *testing.T) {
	lost := errors.New("downstream is gone")
	var got error
	served, err := Serve(t.Context(), network.HandlerFunc(func(ctx context.Context, f network.Flow) error {
		_, got = f.Accept(ctx)
		return got
	}), network.NewStreamInfo(1))
	if err != nil {
		t.Fatal(err)
	}
	served.Established(nil, lost)
	<-served.Done
	if !errors.Is(got, lost) {
		t.Errorf("Accept gave %v", got)
	}
}

func TestServeRefusals(t *testing.T) {
	tests := []struct {
		name string
		h    network.HandlerFunc
		want error
	}{
		{"rejects", func(_ context.Context, f network.Flow) error { f.Reject(errNo); return errNo }, errNo},
		{"only returns an error", func(context.Context, network.Flow) error { return errNo }, errNo},
		{"only returns", func(context.Context, network.Flow) error { return nil }, errUnanswered},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			served, err := Serve(t.Context(), tt.h, network.NewStreamInfo(1))
			if served != nil || !errors.Is(err, tt.want) {
				t.Errorf("got %v, %v", served, err)
			}
		})
	}
}

// The downstream leaves while the handler still dials, and while it accepts.
func TestServeCanceled(t *testing.T) {
	gone := errors.New("downstream is gone")
	tests := []struct {
		name string
		h    network.HandlerFunc
	}{
		{"dialing", func(ctx context.Context, f network.Flow) error {
			<-f.Context().Done()
			err := context.Cause(f.Context())
			f.Reject(err)
			return err
		}},
		{"accepting", func(ctx context.Context, f network.Flow) error {
			<-f.Context().Done()
			c, err := f.Accept(ctx)
			if c != nil {
				t.Error("Accept gave a Conn of a stream that is gone")
			}
			return err
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				go func() { // ends at once
					synctest.Wait()
					cancel(gone)
				}()
				if _, err := Serve(ctx, tt.h, network.NewStreamInfo(1)); !errors.Is(err, gone) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}
