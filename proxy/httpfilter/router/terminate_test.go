package router

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

func opens(t *testing.T, conn network.Conn, err error) *fakeCluster {
	return &fakeCluster{t: t, open: func(context.Context, *network.StreamInfo) (network.Conn, network.Handler, error) {
		return conn, nil, err
	}}
}

func TestE01TerminatedConnectOpensFirst(t *testing.T) {
	conn := &stubConn{}
	x, client := routed(t, terminateRoute, connect())
	_, _ = client.Write([]byte("early"))
	if err := newRouter(t, opens(t, conn, nil), nil).RoundTrip(t.Context(), x, nil); err != nil {
		t.Fatal(err)
	}
	if x.Response.Status != 200 || x.Response.EndStream || x.Upstream.Conn != network.Conn(conn) || !x.Tunnel() {
		t.Errorf("response %+v, far half %+v", x.Response, x.Upstream)
	}
	if x.Upstream.Pump != nil || x.Stream.(interface{ Buffered() int }).Buffered() != 5 {
		t.Error("E14: early bytes were read before the 200 was sent")
	}
	if x.Info.Cluster != "c" || x.Info.Details != "via_upstream" || x.Info.Attempts != 1 {
		t.Errorf("info: %q %q %d", x.Info.Cluster, x.Info.Details, x.Info.Attempts)
	}
}

func TestE07AllowPost(t *testing.T) {
	const allow = `{"match":{"prefix":"/"},"route":{"cluster":"c","upgrade_configs":[{"upgrade_type":"CONNECT","connect_config":{"allow_post":true}}]}}`
	x, _ := routed(t, allow, post())
	if err := newRouter(t, opens(t, &stubConn{}, nil), nil).RoundTrip(t.Context(), x, nil); err != nil {
		t.Fatal(err)
	}
	if x.Response.Status != 200 || !x.Tunnel() {
		t.Errorf("POST with allow_post: %+v", x.Response)
	}
}

// What a far half that does not open is told to the client as, all made of one
// reason.
func TestConnectFailures(t *testing.T) {
	const reset = "upstream connect error or disconnect/reset before headers. reset reason: "
	for _, c := range []struct {
		name    string
		err     error
		status  int
		flags   network.Flag
		reason  network.Reason
		body    string
		details string
	}{
		{"E21 refused", fmt.Errorf("dial: %w", syscall.ECONNREFUSED), 503, network.FlagUF, network.ReasonConnectionRefused,
			reset + "remote connection failure, transport failure reason: delayed connect error: Connection refused",
			"upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}"},
		{"E22 connect timeout", network.WithReason(network.ReasonTimeout, errors.New("timeout")), 503, network.FlagUF, network.ReasonTimeout,
			reset + "connection timeout", "upstream_reset_before_response_started{connection_timeout}"},
		{"E25 no healthy host", network.WithReason(network.ReasonNoHealthy, nil), 503, network.FlagUH, network.ReasonNoHealthy,
			"no healthy upstream", "no_healthy_upstream"},
		{"unroutable", syscall.EHOSTUNREACH, 503, network.FlagUF, network.ReasonUnroutable,
			reset + "remote connection failure, transport failure reason: delayed connect error: No route to host",
			"upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_No_route_to_host}"},
		{"egress policy", network.WithReason(network.ReasonProhibited, errors.New("loopback")), 403, network.FlagUH, network.ReasonProhibited,
			"destination prohibited", "destination_ip_prohibited"},
		{"denied further on", network.WithReason(network.ReasonDenied, nil), 403, 0, network.ReasonDenied,
			"request denied", "http_request_denied"},
		{"overflow", network.WithReason(network.ReasonOverflow, nil), 503, network.FlagUO, network.ReasonOverflow,
			reset + "overflow", "upstream_reset_before_response_started{overflow}"},
		{"no chain further on", network.WithReason(network.ReasonNoRoute, nil), 404, network.FlagNR, network.ReasonNoRoute,
			"no route", "destination_not_found"},
		{"name", network.WithReason(network.ReasonDNS, nil), 503, network.FlagDF, network.ReasonDNS,
			reset + "remote connection failure", "upstream_reset_before_response_started{remote_connection_failure}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, _ := routed(t, terminateRoute, connect())
			r := reply(t, newRouter(t, opens(t, nil, c.err), nil).RoundTrip(t.Context(), x, nil))
			if r.Status != c.status || r.Flags != c.flags || r.Reason != c.reason {
				t.Errorf("status %d flags %v reason %v, want %d %v %v", r.Status, r.Flags, r.Reason, c.status, c.flags, c.reason)
			}
			if r.Body != c.body || r.Details != c.details {
				t.Errorf("body    %q\nwant    %q\ndetails %q\nwant    %q", r.Body, c.body, r.Details, c.details)
			}
			if x.Upstream.Conn != nil || x.Response != nil {
				t.Error("something is left of the failed attempt")
			}
		})
	}
}

func TestConnectFailureQuotesTransport(t *testing.T) {
	c := &fakeCluster{t: t, open: func(_ context.Context, info *network.StreamInfo) (network.Conn, network.Handler, error) {
		info.TransportFailure = "TLS_error: bad cert"
		return nil, nil, network.WithReason(network.ReasonGateway, errors.New("tls"))
	}}
	x, _ := routed(t, terminateRoute, connect())
	r := reply(t, newRouter(t, c, nil).RoundTrip(t.Context(), x, nil))
	if want := "upstream_reset_before_response_started{remote_connection_failure|TLS_error:_bad_cert}"; r.Details != want {
		t.Errorf("details %q, want %q", r.Details, want)
	}
}

func TestD15UnknownCluster(t *testing.T) {
	for code, want := range map[string]int{"SERVICE_UNAVAILABLE": 503, "NOT_FOUND": 404, "INTERNAL_SERVER_ERROR": 500} {
		x, _ := routed(t, `{"match":{"connect_matcher":{}},"route":{"cluster":"nope","cluster_not_found_response_code":"`+code+`"}}`, connect())
		r := reply(t, newRouter(t, nil, nil).RoundTrip(t.Context(), x, nil))
		if r.Status != want || r.Details != "cluster_not_found" || r.Flags != network.FlagNC || r.Reason != network.ReasonNoCluster {
			t.Errorf("%s: %+v", code, r)
		}
	}
}

// A client that leaves, or a bound that is reached, while the far half is still
// being opened cancels the dial.
func TestE23CancelWhilePending(t *testing.T) {
	bound := &codec.LocalReply{Status: 408, Details: "stream_idle_timeout"}
	for name, c := range map[string]struct {
		cause   error
		details string
	}{
		"client left": {errors.New("stream reset"), "downstream_remote_disconnect"},
		"bound":       {bound, "stream_idle_timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				hangs := &fakeCluster{t: t, open: func(ctx context.Context, _ *network.StreamInfo) (network.Conn, network.Handler, error) {
					<-ctx.Done()
					return nil, nil, fmt.Errorf("dial: %w", ctx.Err())
				}}
				x, _ := routed(t, terminateRoute, connect())
				got := make(chan error, 1)
				go func() { got <- newRouter(t, hangs, nil).RoundTrip(ctx, x, nil) }()
				synctest.Wait()
				select {
				case err := <-got:
					t.Fatalf("answered while the dial is pending: %v", err)
				default:
				}
				cancel(c.cause)
				if r := reply(t, <-got); r.Details != c.details {
					t.Errorf("details %q, want %q", r.Details, c.details)
				}
			})
		})
	}
}

func TestInternalEndpoint(t *testing.T) {
	handler := network.HandlerFunc(func(context.Context, network.Flow) error { return nil })
	c := &fakeCluster{t: t, open: func(context.Context, *network.StreamInfo) (network.Conn, network.Handler, error) {
		return nil, handler, nil
	}}
	served := &codec.ServedFlow{}
	var outer *network.StreamInfo
	var answer error
	r, err := New(nil, Deps{
		Clusters: func(string) (Cluster, bool) { return c, true },
		Serve: func(_ context.Context, h network.Handler, info *network.StreamInfo) (*codec.ServedFlow, error) {
			if h == nil || info.Parent != outer {
				t.Error("Serve was given no handler, or an info that is no child of the exchange's")
			}
			if answer != nil {
				return nil, answer
			}
			return served, nil
		},
		Flows: network.NewFlowTable(),
	})
	if err != nil {
		t.Fatal(err)
	}
	x, _ := routed(t, terminateRoute, connect())
	outer = x.Info
	if err := r.RoundTrip(t.Context(), x, nil); err != nil || x.Upstream.Served != served || x.Response.Status != 200 {
		t.Errorf("accepted: %v, %+v", err, x.Upstream)
	}
	answer = network.WithReason(network.ReasonConnectionRefused, errors.New("inner refusal"))
	x, _ = routed(t, terminateRoute, connect())
	outer = x.Info
	if r := reply(t, r.RoundTrip(t.Context(), x, nil)); r.Status != 503 || r.Reason != network.ReasonConnectionRefused {
		t.Errorf("rejected: %+v", r)
	}
}
