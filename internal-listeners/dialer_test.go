package internallisteners

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"testing"

	"culvert/proxy/network"
)

// Whatever buffer_size_kb is, bodies arrive whole, both ways at once.
func TestK13BufferSizes(t *testing.T) {
	echo := network.HandlerFunc(func(ctx context.Context, f network.Flow) error {
		c, err := f.Accept(ctx)
		if err != nil {
			return err
		}
		_, err = io.Copy(c, c)
		return errors.Join(err, c.CloseWrite(), c.Close())
	})
	for _, kb := range []uint32{0, 1, 5, 128, 8192} {
		for _, body := range []int{16 << 10, 128 << 10, 1 << 20} {
			t.Run(fmt.Sprintf("%d KiB of %d", kb, body), func(t *testing.T) {
				flows := network.NewFlowTable()
				info := innerInfo()
				c, err := NewDialer(t.Context(), BufferSize(kb), flows, nil).Dial(t.Context(), echo, info)
				if err != nil {
					t.Fatal(err)
				}
				if flows.Len() != 1 {
					t.Errorf("%d flows in the table", flows.Len())
				}
				sent := make([]byte, body)
				_, _ = rand.Read(sent)
				go func() { // ends with the body
					_, _ = c.Write(sent)
					_ = c.CloseWrite()
				}()
				got, err := io.ReadAll(c)
				if err != nil || !bytes.Equal(got, sent) {
					t.Errorf("%d bytes came back: %v", len(got), err)
				}
				_ = c.Close()
			})
		}
	}
}

// A dial that nobody takes fails at once, and one that is taken is
// told when it is, not before.
func TestK05K06Answers(t *testing.T) {
	flows := network.NewFlowTable()
	d := NewDialer(t.Context(), 0, flows, nil)
	refused := network.WithReason(network.ReasonConnectionRefused, errors.New("refused inside"))
	over := make(chan struct{})
	_, err := d.Dial(t.Context(), network.HandlerFunc(func(_ context.Context, f network.Flow) error {
		defer close(over)
		f.Reject(refused)
		return refused
	}), innerInfo())
	<-over
	if !errors.Is(err, refused) {
		t.Errorf("refused: %v", err)
	}
	if _, err := d.Dial(t.Context(), network.HandlerFunc(func(context.Context, network.Flow) error { return nil }), innerInfo()); err == nil {
		t.Error("unanswered: no error")
	}
}

// What a handler leaves open ends with it: the client is not left waiting.
func TestHandlerThatForgetsToClose(t *testing.T) {
	c, err := NewDialer(t.Context(), 0, nil, nil).Dial(t.Context(), network.HandlerFunc(func(ctx context.Context, f network.Flow) error {
		_, err := f.Accept(ctx)
		return err
	}), innerInfo())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !network.IsReset(err) {
		t.Errorf("read %v, want a reset", err)
	}
	_ = c.Close()
}

// The end of the configuration that made a connection ends it.
func TestK09LifeEnds(t *testing.T) {
	life, end := context.WithCancelCause(context.Background())
	served := make(chan error, 1)
	c, err := NewDialer(life, 0, nil, nil).Dial(t.Context(), network.HandlerFunc(func(ctx context.Context, f network.Flow) error {
		conn, err := f.Accept(ctx)
		if err != nil {
			return err
		}
		<-ctx.Done()
		conn.Abort(context.Cause(ctx))
		served <- context.Cause(ctx)
		return nil
	}), innerInfo())
	if err != nil {
		t.Fatal(err)
	}
	gone := errors.New("listener removed")
	end(gone)
	if _, err := c.Read(make([]byte, 1)); !network.IsReset(err) || !errors.Is(err, gone) {
		t.Errorf("read %v", err)
	}
	if err := <-served; !errors.Is(err, gone) {
		t.Errorf("the handler is told %v", err)
	}
	_ = c.Close()
}

// What is held for a connection is let go after its entry has left the table.
func TestDialerHolds(t *testing.T) {
	flows := network.NewFlowTable()
	left := make(chan int, 1)
	d := NewDialer(t.Context(), 0, flows, func() func() { return func() { left <- flows.Len() } })
	info := network.NewStreamInfo(flows.NextID())
	refuse := network.HandlerFunc(func(context.Context, network.Flow) error { return errors.New("no") })
	if c, err := d.Dial(t.Context(), refuse, info); err == nil {
		t.Fatalf("a %T of a handler that refuses", c)
	}
	if n := <-left; n != 0 {
		t.Errorf("%d flows are in the table when the hold ends", n)
	}
}
