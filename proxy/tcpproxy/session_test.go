package tcpproxy

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/network"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const logFormat = "%ACCESS_LOG_TYPE% %UPSTREAM_REQUEST_ATTEMPT_COUNT% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %CONNECTION_TERMINATION_DETAILS%\n"

func attempts(n uint32) *tcpproxyv3.TcpProxy {
	return &tcpproxyv3.TcpProxy{MaxConnectAttempts: wrapperspb.UInt32(n)}
}

// The far half is open before the flow is answered, bytes go both ways, and each
// direction ends on its own. One record.
func TestH04Relay(t *testing.T) {
	m := attempts(1)
	m.AccessLog = stdoutLog(t, logFormat)
	f, app := newFlow()
	ours, origin := newPipe()
	r := newRig(t, m, func(context.Context, *network.StreamInfo) (network.Conn, network.Handler, error) {
		if f.accepts != 0 {
			t.Error("accepted before the far half was open")
		}
		return ours, nil, nil
	})
	done := make(chan error)
	go func() { done <- r.proxy.ServeFlow(context.Background(), f) }() // ends with both pipes
	_, _ = app.Write([]byte("hello"))
	_ = app.CloseWrite()
	got, err := io.ReadAll(origin)
	if err != nil || string(got) != "hello" {
		t.Errorf("origin read %q, %v", got, err)
	}
	_, _ = origin.Write([]byte("hello, world"))
	_ = origin.CloseWrite()
	if got, err = io.ReadAll(app); err != nil || string(got) != "hello, world" {
		t.Errorf("app read %q, %v", got, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	_ = r.sinks.Close()
	if got, want := r.out.String(), "TcpConnectionEnd 1 - 5 12 -\n"; got != want {
		t.Errorf("log %q, want %q", got, want)
	}
	if r.value("tcp.t.downstream_cx_total") != 1 || r.value("tcp.t.downstream_cx_rx_bytes_total") != 5 || r.value("tcp.t.downstream_cx_tx_bytes_total") != 12 {
		t.Error("counts are wrong")
	}
}

// How a connect fails, what the flow is told, the flags, how often it is tried.
func TestH05H06H07H08Failures(t *testing.T) {
	tests := []struct {
		name     string
		err      error // nil: the cluster is not there
		tries    int
		answer   string
		flags    string
		details  string
		exceeded int64
	}{
		{"H05 refused", errRefused, 3, "rejected: connection refused", "UF,URX", "tcp_initializion_failure:0", 1},
		{"H05 timeout", network.WithReason(network.ReasonTimeout, nil), 3, "rejected: connection timeout", "UF,URX", "tcp_initializion_failure:0", 1},
		{"H06 no cluster", nil, 0, "rejected: no cluster", "NC", "tcp_initializion_failure:3", 0},
		{"H07 no healthy host", network.WithReason(network.ReasonNoHealthy, nil), 1, "rejected: no healthy upstream", "UH", "tcp_initializion_failure:1", 0},
		{"H08 overflow", network.WithReason(network.ReasonOverflow, nil), 1, "rejected: overflow", "UO", "tcp_initializion_failure:2", 0},
		{"prohibited", network.WithReason(network.ReasonProhibited, nil), 1, "rejected: destination prohibited", "UH", "tcp_initializion_failure:1", 0},
		{"says nothing of itself", errors.New("odd"), 3, "rejected: unknown", "UF,URX", "tcp_initializion_failure:0", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tries := 0
			edge := openFunc(func(context.Context, *network.StreamInfo) (network.Conn, network.Handler, error) {
				tries++
				return nil, nil, tt.err
			})
			if tt.err == nil {
				edge = nil
			}
			m := attempts(3)
			m.AccessLog = stdoutLog(t, logFormat)
			r := newRig(t, m, edge)
			f, _ := newFlow()
			err := r.proxy.ServeFlow(t.Context(), f)
			if err == nil || tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("got %v", err)
			}
			if tries != tt.tries {
				t.Errorf("%d attempts, want %d", tries, tt.tries)
			}
			if got := f.answer(); got != tt.answer {
				t.Errorf("answer %q, want %q", got, tt.answer)
			}
			if got := f.info.Flags.String(); got != tt.flags || f.info.TerminationDetails != tt.details {
				t.Errorf("flags %s, details %q; want %s, %q", got, f.info.TerminationDetails, tt.flags, tt.details)
			}
			if got := r.value("cluster.edge.upstream_cx_connect_attempts_exceeded"); got != tt.exceeded {
				t.Errorf("upstream_cx_connect_attempts_exceeded %d, want %d", got, tt.exceeded)
			}
			_ = r.sinks.Close()
			if n := strings.Count(r.out.String(), "\n"); n != 1 {
				t.Errorf("%d records: %q", n, r.out.String())
			}
		})
	}
}

// The second attempt works; the flag of the first stays.
func TestG33H09FB08SecondAttempt(t *testing.T) {
	f, app := newFlow()
	ours, origin := newPipe()
	tries := 0
	m := attempts(2)
	m.AccessLog = stdoutLog(t, "%UPSTREAM_REQUEST_ATTEMPT_COUNT% %RESPONSE_FLAGS%\n")
	r := newRig(t, m, func(context.Context, *network.StreamInfo) (network.Conn, network.Handler, error) {
		if tries++; tries == 1 {
			return nil, nil, errRefused
		}
		return ours, nil, nil
	})
	_ = app.CloseWrite()
	_ = origin.CloseWrite()
	if err := r.proxy.ServeFlow(t.Context(), f); err != nil || f.answer() != "accepted" {
		t.Errorf("%v, answer %q", err, f.answer())
	}
	_ = r.sinks.Close()
	if got := r.out.String(); got != "2 UF\n" {
		t.Errorf("log %q", got)
	}
}

// The wait before an attempt is a random part of an interval that
// doubles up to its bound.
func TestH10FB09Backoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		m := attempts(7)
		m.BackoffOptions = &corev3.BackoffStrategy{BaseInterval: durationpb.New(step)}
		r := newRig(t, m, func(context.Context, *network.StreamInfo) (network.Conn, network.Handler, error) {
			at = append(at, time.Now())
			return nil, nil, errRefused
		})
		r.proxy.random = func(n int64) int64 { return n - 1 }
		f, _ := newFlow()
		_ = r.proxy.ServeFlow(t.Context(), f)
		want := []time.Duration{1, 2, 4, 8, 10, 10}
		if len(at) != len(want)+1 {
			t.Fatalf("%d attempts", len(at))
		}
		for i := range want {
			if got := at[i+1].Sub(at[i]) + 1; got != want[i]*step {
				t.Errorf("wait %d: %v, want %v", i+1, got, want[i]*step)
			}
		}
	})
}

// CVE-2021-43826: the application leaves during the connect, or
// between attempts: the dial ends, there is no other, nothing is left open.
func TestG23FB11PeerLeaves(t *testing.T) {
	gone := errors.New("application is gone")
	tests := []struct {
		name  string
		open  func(ctx context.Context) error
		tries int
	}{
		{"while dialing", func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }, 1},
		{"while backing off", func(context.Context) error { return errRefused }, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				m := attempts(5)
				m.BackoffOptions = &corev3.BackoffStrategy{BaseInterval: durationpb.New(time.Hour)}
				m.IdleTimeout = durationpb.New(0)
				r := newRig(t, m, func(ctx context.Context, _ *network.StreamInfo) (network.Conn, network.Handler, error) {
					tries++
					return nil, nil, tt.open(ctx)
				})
				r.proxy.random = func(n int64) int64 { return n - 1 }
				f, _ := newFlow()
				began := time.Now()
				time.AfterFunc(step, func() { f.cancel(gone) })
				err := r.proxy.ServeFlow(t.Context(), f)
				if !errors.Is(err, gone) || network.ReasonFor(err) != network.ReasonCanceled {
					t.Errorf("got %v (%v)", err, network.ReasonFor(err))
				}
				if d := time.Since(began); d != step {
					t.Errorf("after %v", d)
				}
				if tries != tt.tries || f.accepts != 0 || f.info.Flags&network.FlagDC == 0 || f.info.Flags&network.FlagURX != 0 {
					t.Errorf("%d attempts, accepts %d, flags %v", tries, f.accepts, f.info.Flags)
				}
			})
		})
	}
}

// The application is gone when the answer comes: the far half is reset.
func TestAcceptFails(t *testing.T) {
	lost := errors.New("no ACK")
	ours, origin := newPipe()
	r := newRig(t, attempts(1), func(context.Context, *network.StreamInfo) (network.Conn, network.Handler, error) {
		return ours, nil, nil
	})
	f, _ := newFlow()
	f.lost = lost
	if err := r.proxy.ServeFlow(t.Context(), f); !errors.Is(err, lost) || f.info.Flags != network.FlagDC {
		t.Errorf("got %v, flags %v", err, f.info.Flags)
	}
	if _, err := origin.Read(make([]byte, 1)); !network.IsReset(err) {
		t.Errorf("the far half: %v", err)
	}
}

// Nothing answers until the idle timeout.
func TestG24FB12IdleWhileConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := attempts(3)
		m.IdleTimeout = durationpb.New(5 * step)
		r := newRig(t, m, func(ctx context.Context, _ *network.StreamInfo) (network.Conn, network.Handler, error) {
			<-ctx.Done()
			return nil, nil, context.Cause(ctx)
		})
		f, _ := newFlow()
		began := time.Now()
		_ = r.proxy.ServeFlow(t.Context(), f)
		if d := time.Since(began); d != 5*step || f.answer() != "rejected: connection timeout" {
			t.Errorf("after %v: %s", d, f.answer())
		}
		if r.value("tcp.t.idle_timeout") != 1 || f.info.TerminationDetails != "tcp_session_idle_timeout" {
			t.Errorf("count %d, details %q", r.value("tcp.t.idle_timeout"), f.info.TerminationDetails)
		}
	})
}

// The bounds of an established session.
func TestH14H15H16H18Bounds(t *testing.T) {
	day := 24 * time.Hour
	tests := []struct {
		name    string
		m       *tcpproxyv3.TcpProxy
		state   any
		after   time.Duration
		flags   string
		details string
		counter string
	}{
		{"default", &tcpproxyv3.TcpProxy{}, nil, time.Hour, "-", "tcp_session_idle_timeout", "idle_timeout"},
		{"H16 configured", &tcpproxyv3.TcpProxy{IdleTimeout: durationpb.New(5 * step)}, nil, 5 * step, "-", "tcp_session_idle_timeout", "idle_timeout"},
		{"H14 filter state", &tcpproxyv3.TcpProxy{}, "1500", 1500 * time.Millisecond, "-", "tcp_session_idle_timeout", "idle_timeout"},
		{"H14 filter state, no number", &tcpproxyv3.TcpProxy{}, "soon", time.Hour, "-", "tcp_session_idle_timeout", "idle_timeout"},
		{"H15 off", &tcpproxyv3.TcpProxy{IdleTimeout: durationpb.New(0)}, nil, day, "-", "", ""},
		{"H18 duration", &tcpproxyv3.TcpProxy{MaxDownstreamConnectionDuration: durationpb.New(10 * step)}, nil, 10 * step, "DT", "max_connection_duration_reached", "max_downstream_connection_duration"},
		{"H18 jitter", &tcpproxyv3.TcpProxy{
			MaxDownstreamConnectionDuration:                 durationpb.New(10 * step),
			MaxDownstreamConnectionDurationJitterPercentage: &typev3.Percent{Value: 50},
		}, nil, 15 * step, "DT", "max_connection_duration_reached", "max_downstream_connection_duration"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, origin := newPipe()
				r := newRig(t, tt.m, func(context.Context, *network.StreamInfo) (network.Conn, network.Handler, error) {
					return ours, nil, nil
				})
				r.proxy.random = func(n int64) int64 { return n - 1 }
				f, app := newFlow()
				if tt.state != nil {
					f.info.SetFilterState(stateIdle, tt.state)
				}
				began := time.Now()
				if tt.counter == "" { // nothing of ours ends it
					time.AfterFunc(day, func() { _ = app.CloseWrite(); _ = origin.CloseWrite() })
				}
				_ = r.proxy.ServeFlow(t.Context(), f)
				if d := time.Since(began); d != tt.after {
					t.Errorf("after %v, want %v", d, tt.after)
				}
				if f.info.Flags.String() != tt.flags || f.info.TerminationDetails != tt.details {
					t.Errorf("flags %v, details %q", f.info.Flags, f.info.TerminationDetails)
				}
				if tt.counter == "" {
					return
				}
				if r.value("tcp.t."+tt.counter) != 1 {
					t.Errorf("%s is %d", tt.counter, r.value("tcp.t."+tt.counter))
				}
				_, appErr := app.Read(make([]byte, 1))
				_, originErr := origin.Read(make([]byte, 1))
				if !network.IsReset(appErr) || !network.IsReset(originErr) {
					t.Errorf("ends: %v, %v", appErr, originErr)
				}
			})
		})
	}
}

// A reset stays a reset, and the record says whose.
func TestG22FB20Resets(t *testing.T) {
	tests := []struct {
		name  string
		reset func(app, origin *pipeEnd)
		flags network.Flag
	}{
		{"upstream", func(_, origin *pipeEnd) { origin.Abort(nil) }, network.FlagUR},
		{"downstream", func(app, _ *pipeEnd) { app.Abort(nil) }, network.FlagDR},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, origin := newPipe()
				r := newRig(t, attempts(1), func(context.Context, *network.StreamInfo) (network.Conn, network.Handler, error) {
					return ours, nil, nil
				})
				f, app := newFlow()
				time.AfterFunc(step, func() { tt.reset(app, origin) })
				err := r.proxy.ServeFlow(t.Context(), f)
				if !network.IsReset(err) || f.info.Flags != tt.flags {
					t.Errorf("got %v, flags %v, want %v", err, f.info.Flags, tt.flags)
				}
				_, appErr := app.Read(make([]byte, 1))
				_, originErr := origin.Read(make([]byte, 1))
				if appErr == nil || originErr == nil || errors.Is(appErr, io.EOF) || errors.Is(originErr, io.EOF) {
					t.Errorf("ends: %v, %v", appErr, originErr)
				}
			})
		})
	}
}

// The end of culvert ends a session with its cause.
func TestContextEnds(t *testing.T) {
	bye := errors.New("drained")
	for _, connecting := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			ours, _ := newPipe()
			r := newRig(t, attempts(2), func(ctx context.Context, _ *network.StreamInfo) (network.Conn, network.Handler, error) {
				if connecting {
					<-ctx.Done()
					return nil, nil, ctx.Err()
				}
				return ours, nil, nil
			})
			f, _ := newFlow()
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(step, func() { cancel(bye) })
			if err := r.proxy.ServeFlow(ctx, f); !errors.Is(err, bye) {
				t.Errorf("connecting %v: got %v", connecting, err)
			}
		})
	}
}

// Records besides the one at the end.
func TestH19H20Records(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := attempts(1)
		m.AccessLog = stdoutLog(t, "%ACCESS_LOG_TYPE%\n")
		m.AccessLogOptions = &tcpproxyv3.TcpProxy_TcpAccessLogOptions{
			AccessLogFlushInterval: durationpb.New(step), FlushAccessLogOnConnected: true, FlushAccessLogOnStart: true,
		}
		ours, origin := newPipe()
		r := newRig(t, m, func(context.Context, *network.StreamInfo) (network.Conn, network.Handler, error) {
			return ours, nil, nil
		})
		f, app := newFlow()
		time.AfterFunc(2500*time.Millisecond, func() { _ = app.CloseWrite(); _ = origin.CloseWrite() })
		if err := r.proxy.ServeFlow(t.Context(), f); err != nil {
			t.Error(err)
		}
		_ = r.sinks.Close()
		want := "TcpConnectionStart\nTcpUpstreamConnected\nTcpPeriodic\nTcpPeriodic\nTcpConnectionEnd\n"
		if got := r.out.String(); got != want {
			t.Errorf("got %q", got)
		}
	})
}
