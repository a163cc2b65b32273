package listener

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/network"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

// fakeConn remembers how it was aborted.
type fakeConn struct {
	network.Conn
	cause error
}

func (c *fakeConn) Abort(cause error) { c.cause = cause }
func (c *fakeConn) Close() error      { return nil }

// fakeTransport wraps as it is told.
type fakeTransport struct {
	wrap func(ctx context.Context, c network.Conn) (network.Conn, error)
}

func (f fakeTransport) Secure() bool { return true }
func (f fakeTransport) Wrap(ctx context.Context, c network.Conn, _ *network.StreamInfo) (network.Conn, error) {
	return f.wrap(ctx, c)
}

func listenerWith(t *testing.T, tr fakeTransport, h network.HandlerFunc) *Listener {
	t.Helper()
	l, err := New(internal(&listenerv3.Listener{Name: "l", FilterChains: []*listenerv3.FilterChain{chainOf("c", nil)}}), testDeps(handlers{"f": h}))
	if err != nil {
		t.Fatal(err)
	}
	l.chains[0].transport = tr
	return l
}

// A handshake needs bytes, so the flow is answered before its far end is known;
// a refusal can then only be a reset.
func TestTransportAcceptsEarly(t *testing.T) {
	inner := &fakeConn{}
	refused := errors.New("refused")
	tests := []struct {
		name string
		h    network.HandlerFunc
		want error // of the abort
	}{
		{"accepted", func(ctx context.Context, f network.Flow) error {
			c, err := f.Accept(ctx)
			if c != network.Conn(inner) {
				t.Errorf("got %v, want the wrapped connection", c)
			}
			f.Reject(refused) // too late
			return err
		}, nil},
		{"rejected", func(ctx context.Context, f network.Flow) error {
			f.Reject(refused)
			if _, err := f.Accept(ctx); !errors.Is(err, refused) {
				t.Errorf("accept after a refusal: %v", err)
			}
			return refused
		}, refused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inner.cause = nil
			l := listenerWith(t, fakeTransport{func(context.Context, network.Conn) (network.Conn, error) { return inner, nil }}, tt.h)
			f := newFakeFlow()
			if err := l.ServeFlow(t.Context(), f); !errors.Is(err, tt.want) {
				t.Errorf("got %v", err)
			}
			if !f.accepted || !f.info.AcceptedEarly {
				t.Errorf("accepted %v, early %v", f.accepted, f.info.AcceptedEarly)
			}
			if !errors.Is(inner.cause, tt.want) {
				t.Errorf("aborted with %v", inner.cause)
			}
		})
	}
}

func TestTransportFails(t *testing.T) {
	bad := errors.New("tls: no certificate")
	l := listenerWith(t, fakeTransport{func(context.Context, network.Conn) (network.Conn, error) { return nil, bad }},
		func(context.Context, network.Flow) error { t.Error("served without a transport"); return nil })
	f := newFakeFlow()
	if err := l.ServeFlow(t.Context(), f); !errors.Is(err, bad) {
		t.Errorf("got %v", err)
	}
	if f.info.TransportFailure != bad.Error() {
		t.Errorf("transport failure %q", f.info.TransportFailure)
	}
}

// A peer that does not finish its handshake has 15 seconds.
func TestTransportTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listenerWith(t, fakeTransport{func(ctx context.Context, _ network.Conn) (network.Conn, error) {
			<-ctx.Done()
			return nil, net.ErrClosed
		}}, nil)
		f := newFakeFlow()
		began := time.Now()
		if err := l.ServeFlow(t.Context(), f); !errors.Is(err, errTransportTimeout) {
			t.Errorf("got %v", err)
		}
		if d := time.Since(began); d != 15*time.Second {
			t.Errorf("after %v", d)
		}
		if l.n.transportTimeout.Value() != 1 || f.info.TerminationDetails != "transport_socket_timeout" {
			t.Errorf("count %d, details %q", l.n.transportTimeout.Value(), f.info.TerminationDetails)
		}
	})
}
