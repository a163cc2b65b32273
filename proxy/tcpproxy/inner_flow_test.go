package tcpproxy

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/network"

	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// innerCluster hands every flow to h.
func innerCluster(h network.HandlerFunc) openFunc {
	return func(_ context.Context, info *network.StreamInfo) (network.Conn, network.Handler, error) {
		info.SetUpstream(&network.UpstreamInfo{Host: network.InternalAddress("inner", "1")})
		return nil, h, nil
	}
}

// An internal endpoint gets the flow itself, unanswered, with an info of its
// own; what it moves counts for both.
func TestInternalAccept(t *testing.T) {
	f, app := newFlow()
	f.info.LocalAddress, _ = network.ParseHostPort("192.0.2.7:443")
	f.info.SetFilterState(network.StateDestination, "192.0.2.7:443")
	m := attempts(1)
	r := newRig(t, m, innerCluster(func(ctx context.Context, in network.Flow) error {
		info := in.Info()
		if f.accepts != 0 {
			t.Error("the flow was answered before the handler said so")
		}
		if info.Parent != f.info || info.ID == f.info.ID || info.LocalAddress != f.info.LocalAddress || info.FilterState != nil {
			t.Errorf("child info %+v", info)
		}
		if got := info.DirectLocalAddress.String(); got != "envoy://inner/1" {
			t.Errorf("direct local address %s", got)
		}
		c, err := in.Accept(ctx)
		if err != nil {
			return err
		}
		in.Reject(errRefused) // too late
		ours, far := newPipe()
		_ = far.CloseWrite()
		res := network.Relay(ctx, c, ours, network.RelayOptions{Meter: &info.Meter})
		return res.Err
	}))
	_, _ = app.Write([]byte("inner bytes"))
	_ = app.CloseWrite()
	if err := r.proxy.ServeFlow(t.Context(), f); err != nil {
		t.Error(err)
	}
	if f.answer() != "accepted" || f.accepts != 1 || f.info.Meter.BytesReceived() != 11 {
		t.Errorf("%s, %d accepts, %d bytes", f.answer(), f.accepts, f.info.Meter.BytesReceived())
	}
	if r.proxy.deps.Flows.Len() != 0 || len(r.proxy.deps.Flows.Ended()) != 1 {
		t.Error("the child is not in the flow table as ended")
	}
}

// Its refusal is a failed attempt while there are others, then the answer.
func TestInternalReject(t *testing.T) {
	tests := []struct {
		name   string
		h      network.HandlerFunc
		answer string
	}{
		{"rejects", func(_ context.Context, in network.Flow) error {
			in.Reject(errRefused)
			if _, err := in.Accept(context.Background()); !errors.Is(err, errRefused) {
				t.Errorf("accept after a refusal: %v", err)
			}
			return errRefused
		}, "rejected: connection refused"},
		{"only fails", func(context.Context, network.Flow) error { return errRefused }, "rejected: connection refused"},
		{"does nothing", func(context.Context, network.Flow) error { return nil }, "rejected: gateway failure"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tries := 0
			r := newRig(t, attempts(3), innerCluster(func(ctx context.Context, in network.Flow) error { tries++; return tt.h(ctx, in) }))
			f, _ := newFlow()
			if err := r.proxy.ServeFlow(t.Context(), f); err == nil {
				t.Error("no error")
			}
			if tries != 3 || f.answer() != tt.answer || f.info.Flags.String() != "UF,URX" {
				t.Errorf("%d attempts, %s, flags %v", tries, f.answer(), f.info.Flags)
			}
		})
	}
}

// One attempt is refused inside, the next is served.
func TestInternalSecondAttempt(t *testing.T) {
	tries := 0
	r := newRig(t, attempts(2), innerCluster(func(ctx context.Context, in network.Flow) error {
		if tries++; tries == 1 {
			in.Reject(errRefused)
			return errRefused
		}
		c, err := in.Accept(ctx)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, c)
		return errors.Join(c.CloseWrite(), c.Close())
	}))
	f, app := newFlow()
	_ = app.CloseWrite()
	if err := r.proxy.ServeFlow(t.Context(), f); err != nil || f.answer() != "accepted" || f.accepts != 1 {
		t.Errorf("%v, %s, %d accepts", err, f.answer(), f.accepts)
	}
}

// The idle timeout of the outer session bounds the inner connect, not what was
// answered.
func TestInternalIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := attempts(1)
		m.IdleTimeout = durationpb.New(5 * step)
		r := newRig(t, m, innerCluster(func(_ context.Context, in network.Flow) error {
			<-in.Context().Done()
			err := context.Cause(in.Context())
			in.Reject(err)
			return err
		}))
		f, _ := newFlow()
		began := time.Now()
		_ = r.proxy.ServeFlow(t.Context(), f)
		if d := time.Since(began); d != 5*step || f.answer() != "rejected: connection timeout" {
			t.Errorf("after %v: %s", d, f.answer())
		}

		r = newRig(t, m, innerCluster(func(ctx context.Context, in network.Flow) error {
			c, err := in.Accept(ctx)
			if err != nil {
				return err
			}
			time.Sleep(time.Minute)
			if in.Context().Err() != nil {
				t.Error("the flow ended with the attempt's time")
			}
			return c.Close()
		}))
		f, _ = newFlow()
		if err := r.proxy.ServeFlow(t.Context(), f); err != nil {
			t.Error(err)
		}
	})
}

// What an internal listener relays is still bounded by the outer session.
func TestInternalBounds(t *testing.T) {
	tests := []struct {
		name    string
		m       *tcpproxyv3.TcpProxy
		after   time.Duration
		details string
	}{
		{"idle", &tcpproxyv3.TcpProxy{IdleTimeout: durationpb.New(5 * step)}, 7 * step, "tcp_session_idle_timeout"},
		{"duration", &tcpproxyv3.TcpProxy{MaxDownstreamConnectionDuration: durationpb.New(10 * step)}, 10 * step, "max_connection_duration_reached"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				far, origin := newPipe()
				r := newRig(t, tt.m, innerCluster(func(ctx context.Context, in network.Flow) error {
					c, err := in.Accept(ctx)
					if err != nil {
						return err
					}
					return network.Relay(ctx, c, far, network.RelayOptions{Meter: &in.Info().Meter}).Err
				}))
				f, app := newFlow()
				began := time.Now()
				time.AfterFunc(2*step, func() { _, _ = app.Write([]byte("x")) }) // keeps it for 5 s more
				if err := r.proxy.ServeFlow(t.Context(), f); err == nil {
					t.Error("no error")
				}
				if d := time.Since(began); d != tt.after || f.info.TerminationDetails != tt.details {
					t.Errorf("after %v: %q", d, f.info.TerminationDetails)
				}
				if _, err := io.ReadAll(origin); err == nil {
					t.Error("the far end saw a clean end")
				}
			})
		})
	}
}
