package tcpproxy

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"culvert/configs/field"
	"culvert/proxy/network"

	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func early(n uint32) *tcpproxyv3.TcpProxy {
	return &tcpproxyv3.TcpProxy{MaxEarlyDataBytes: wrapperspb.UInt32(n)}
}

func onData(n uint32) *tcpproxyv3.TcpProxy {
	m := early(n)
	m.UpstreamConnectMode = tcpproxyv3.UpstreamConnectMode_ON_DOWNSTREAM_DATA
	return m
}

// slow is an upstream that is open after a step, and tells when it was asked.
func slow(ours *pipeEnd, asked *time.Time) openFunc {
	return func(ctx context.Context, _ *network.StreamInfo) (network.Conn, network.Handler, error) {
		*asked = time.Now()
		select {
		case <-time.After(step):
			return ours, nil, nil
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

// What comes before the far half is open is taken up
// to the limit, and arrives in order behind it, its end too.
func TestH21H22H23H24EarlyData(t *testing.T) {
	tests := []struct {
		name  string
		m     *tcpproxyv3.TcpProxy
		state any
		send  string
		fin   bool
		taken int // bytes that were read before the far half was open
		count int64
	}{
		{name: "H21", m: early(100), send: "hello", taken: 5, count: 1},
		{name: "H22 with FIN", m: early(100), send: "hello", fin: true, taken: 5, count: 1},
		{name: "H23 FIN alone", m: early(100), fin: true},
		{name: "H24 at the limit", m: early(5), send: "hello", taken: 5, count: 1},
		{name: "H24 beyond the limit", m: early(5), send: "hello, world", taken: 6, count: 1},
		{name: "H24 no limit to speak of", m: early(0), send: "hello", taken: 1, count: 1},
		{name: "H24 FB28 many reads", m: early(1 << 20), send: strings.Repeat("0123456789", 5000), taken: 50_000, count: 1},
		{name: "filter state", m: attempts(1), state: true, send: "hello", taken: 5, count: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, origin := newPipe()
				var asked time.Time
				r := newRig(t, tt.m, slow(ours, &asked))
				f, app := newFlow()
				if tt.state != nil {
					f.info.SetFilterState(stateReceiveBeforeConnect, tt.state)
				}
				done := make(chan error)
				go func() { done <- r.proxy.ServeFlow(t.Context(), f) }() // ends with both pipes
				_, _ = app.Write([]byte(tt.send))
				if tt.fin {
					_ = app.CloseWrite()
				}
				synctest.Wait()
				if f.accepts != 1 || !f.info.AcceptedEarly {
					t.Errorf("%d accepts, early %v", f.accepts, f.info.AcceptedEarly)
				}
				if taken := len(tt.send) - len(f.conn.in.buf); taken != tt.taken {
					t.Errorf("%d bytes were taken early, want %d", taken, tt.taken)
				}
				_, _ = app.Write([]byte(" late"))
				_ = app.CloseWrite()
				want := tt.send + " late"
				if tt.fin { // the pipe takes what is written behind its end; a socket would not
					want = strings.TrimSuffix(want, " late")
				}
				got, err := io.ReadAll(origin)
				if err != nil || !strings.HasPrefix(string(got), want) {
					t.Errorf("the origin got %d bytes, %v", len(got), err)
				}
				_, _ = origin.Write([]byte("answer"))
				_ = origin.CloseWrite()
				if got, err := io.ReadAll(app); err != nil || string(got) != "answer" {
					t.Errorf("the application got %q, %v", got, err)
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
				if got := r.value("tcp.t.early_data_received_count_total"); got != tt.count {
					t.Errorf("early_data_received_count_total %d, want %d", got, tt.count)
				}
				if n := int(f.info.Meter.BytesReceived()); n != len(got) {
					t.Errorf("%d bytes were metered of %d", n, len(got))
				}
			})
		})
	}
}

// Nothing is opened before the first byte; who says nothing asks for
// nothing.
func TestH25OnDownstreamData(t *testing.T) {
	tests := []struct {
		name   string
		say    func(app *pipeEnd)
		asked  time.Duration // negative: never
		err    error
		flags  string
		detail string
		end    error // what the application reads
	}{
		{"a byte", func(app *pipeEnd) { _, _ = app.Write([]byte("x")); _ = app.CloseWrite() }, 3 * step, nil, "-", "", io.EOF},
		{"H25 empty FIN", func(app *pipeEnd) { _ = app.CloseWrite() }, -1, nil, "-", "", io.EOF},
		{"reset", func(app *pipeEnd) { app.Abort(errRefused) }, -1, errRefused, "DC", "", nil},
		{"never", func(*pipeEnd) {}, -1, network.ErrIdleTimeout, "-", "tcp_session_idle_timeout", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, origin := newPipe()
				_ = origin.CloseWrite()
				var asked time.Time
				m := onData(10)
				m.IdleTimeout = durationpb.New(10 * step)
				r := newRig(t, m, slow(ours, &asked))
				f, app := newFlow()
				began := time.Now()
				time.AfterFunc(3*step, func() { tt.say(app) })
				err := r.proxy.ServeFlow(t.Context(), f)
				if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
					t.Errorf("ended with %v", err)
				}
				if asked.IsZero() != (tt.asked < 0) || !asked.IsZero() && asked.Sub(began) != tt.asked {
					t.Errorf("asked after %v, want %v", asked.Sub(began), tt.asked)
				}
				if f.info.Flags.String() != tt.flags || f.info.TerminationDetails != tt.detail {
					t.Errorf("flags %v, details %q", f.info.Flags, f.info.TerminationDetails)
				}
				_, end := app.Read(make([]byte, 1))
				if tt.end != nil && !errors.Is(end, tt.end) || tt.end == nil && !network.IsReset(end) && tt.name != "reset" {
					t.Errorf("the application reads %v", end)
				}
			})
		})
	}
}

// A failure of a flow that was accepted early is a reset; one that leaves
// meanwhile ends the connect, without another attempt.
func TestEarlyDataFailures(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, early(10), func(context.Context, *network.StreamInfo) (network.Conn, network.Handler, error) {
				return nil, nil, errRefused
			})
			f, app := newFlow()
			_, _ = app.Write([]byte("hello"))
			if err := r.proxy.ServeFlow(t.Context(), f); !errors.Is(err, errRefused) || f.rejected != nil {
				t.Errorf("%v, rejected with %v", err, f.rejected)
			}
			if _, err := app.Read(make([]byte, 1)); !network.IsReset(err) {
				t.Errorf("the application reads %v", err)
			}
			if f.info.Flags.String() != "UF,URX" {
				t.Errorf("flags %v", f.info.Flags)
			}
		})
	})
	t.Run("G23 leaves", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			m := early(10)
			m.MaxConnectAttempts = wrapperspb.UInt32(3)
			r := newRig(t, m, func(ctx context.Context, _ *network.StreamInfo) (network.Conn, network.Handler, error) {
				tries++
				<-ctx.Done()
				return nil, nil, context.Cause(ctx)
			})
			f, app := newFlow()
			time.AfterFunc(step, func() { app.Abort(nil) })
			began := time.Now()
			err := r.proxy.ServeFlow(t.Context(), f)
			if network.ReasonFor(err) != network.ReasonCanceled || tries != 1 || time.Since(began) != step || f.info.Flags != network.FlagDC {
				t.Errorf("%v after %v and %d tries, flags %v", err, time.Since(began), tries, f.info.Flags)
			}
		})
	})
}

// What was taken early reaches an internal listener too, also the one of a
// second attempt.
func TestEarlyDataIntoInternalListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := early(100)
		m.MaxConnectAttempts = wrapperspb.UInt32(2)
		tries := 0
		var got []byte
		r := newRig(t, m, innerCluster(func(ctx context.Context, in network.Flow) error {
			time.Sleep(step)
			if tries++; tries == 1 {
				in.Reject(errRefused)
				return errRefused
			}
			c, err := in.Accept(ctx)
			if err != nil {
				return err
			}
			got, err = io.ReadAll(c)
			if in.Context().Err() != nil {
				t.Error("the flow's context ended with the early reading")
			}
			return errors.Join(err, c.CloseWrite(), c.Close())
		}))
		f, app := newFlow()
		_, _ = app.Write([]byte("hello"))
		time.AfterFunc(5*step, func() { _, _ = app.Write([]byte(", world")); _ = app.CloseWrite() })
		if err := r.proxy.ServeFlow(t.Context(), f); err != nil || string(got) != "hello, world" || f.accepts != 1 {
			t.Errorf("%v: %q, %d accepts", err, got, f.accepts)
		}
	})
}

// A mode that needs early bytes says how many.
func TestM09FB29ConnectModeErrors(t *testing.T) {
	r := newRig(t, &tcpproxyv3.TcpProxy{}, nil)
	for _, mode := range []tcpproxyv3.UpstreamConnectMode{
		tcpproxyv3.UpstreamConnectMode_ON_DOWNSTREAM_DATA, tcpproxyv3.UpstreamConnectMode_ON_DOWNSTREAM_TLS_HANDSHAKE,
	} {
		m := &tcpproxyv3.TcpProxy{ClusterSpecifier: &tcpproxyv3.TcpProxy_Cluster{Cluster: "edge"}, UpstreamConnectMode: mode}
		_, err := New(m, r.deps())
		if all := field.All(err); len(all) != 1 || all[0].Path != "max_early_data_bytes" {
			t.Errorf("%v: %v", mode, err)
		}
		m.MaxEarlyDataBytes = wrapperspb.UInt32(0)
		if _, err := New(m, r.deps()); err != nil {
			t.Errorf("%v with a limit: %v", mode, err)
		}
	}
}
