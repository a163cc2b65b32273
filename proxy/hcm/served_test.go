package hcm

import (
	"context"
	"errors"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

func internal(h network.HandlerFunc) fakeCluster {
	return fakeCluster{open: func(context.Context, *network.StreamInfo) (network.Conn, network.Handler, error) { return nil, h, nil }}
}

func TestInternalListenerAccepts(t *testing.T) {
	parent := make(chan *network.StreamInfo, 1)
	b := newBench(t, with(terminateRoute, ""), internal(func(ctx context.Context, f network.Flow) error {
		parent <- f.Info().Parent
		c, err := f.Accept(ctx)
		if err != nil {
			return err
		}
		mustRead(t, c, "ping")
		mustWrite(t, c, "hello")
		_ = c.CloseWrite()
		mustEnd(t, c)
		return c.Close()
	}), nil)
	client := b.send(connect())
	mustWrite(t, client, "ping")
	if res := head(t, client); res.Status != 200 {
		t.Fatalf("status %d", res.Status)
	}
	mustRead(t, client, "hello")
	mustEnd(t, client)
	_ = client.CloseWrite()
	info := b.wait()
	if p := <-parent; p != info {
		t.Error("the inner flow is no child of the exchange")
	}
	if info.Meter.BytesReceived() != 4 || info.Meter.BytesSent() != 5 {
		t.Errorf("bytes %d/%d, want 4/5", info.Meter.BytesReceived(), info.Meter.BytesSent())
	}
	if info.Cause != nil || info.Flags != 0 {
		t.Errorf("ended with %v %v", info.Flags, info.Cause)
	}
}

// A refusal inside travels outward as what it is.
func TestInternalListenerRejects(t *testing.T) {
	refuse := network.WithReason(network.ReasonConnectionRefused, errors.New("no"))
	b := newBench(t, with(terminateRoute, ""), internal(func(_ context.Context, f network.Flow) error {
		f.Reject(refuse)
		return refuse
	}), nil)
	b.refuses(connect(), refusal{503, network.FlagUF,
		"upstream_reset_before_response_started{remote_connection_failure}", "connection_refused"})
}

func TestInternalListenerSeesClientLeave(t *testing.T) {
	for name, pending := range map[string]bool{"while it dials": true, "in the tunnel": false} {
		t.Run(name, func(t *testing.T) {
			saw := make(chan error, 1)
			b := newBench(t, with(terminateRoute, ""), internal(func(ctx context.Context, f network.Flow) error {
				if pending {
					<-f.Context().Done()
					saw <- context.Cause(f.Context())
					f.Reject(context.Cause(ctx))
					return ctx.Err()
				}
				c, err := f.Accept(ctx)
				if err != nil {
					return err
				}
				_, err = c.Read(make([]byte, 1))
				saw <- err
				c.Abort(err)
				return err
			}), nil)
			client := b.send(connect())
			if !pending {
				head(t, client)
			}
			client.Reset(codec.CodeCancel, nil)
			if err := <-saw; !network.IsReset(err) {
				t.Errorf("the handler saw %v, want the reset", err)
			}
			if info := b.wait(); info.Flags != network.FlagDC {
				t.Errorf("flags %v", info.Flags)
			}
		})
	}
}

func TestInternalListenerAborts(t *testing.T) {
	b := newBench(t, with(terminateRoute, ""), internal(func(ctx context.Context, f network.Flow) error {
		c, err := f.Accept(ctx)
		if err == nil {
			c.Abort(errors.New("the far end reset"))
		}
		return err
	}), nil)
	client := b.send(connect())
	head(t, client)
	mustReset(t, client)
	if code, _ := client.ResetCode(); code != codec.CodeConnect {
		t.Errorf("reset with %v, want CONNECT_ERROR", code)
	}
	if info := b.wait(); info.Flags != network.FlagUC {
		t.Errorf("flags %v", info.Flags)
	}
}
