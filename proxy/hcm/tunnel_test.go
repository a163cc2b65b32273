package hcm

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/httpfilter/streamtest"
	"culvert/proxy/network"
	"culvert/tunnel"
)

// openTunnel is a terminated CONNECT that has its 200: the client and the
// origin.
func openTunnel(t *testing.T, more string, req *codec.Request) (*bench, *streamtest.Client, *streamtest.Server) {
	t.Helper()
	c, far := origin()
	b := newBench(t, with(terminateRoute, more), c, nil)
	client := b.send(req)
	if res := head(t, client); res.Status != 200 || res.EndStream {
		t.Fatalf("answer %+v, want 200 and an open stream", res)
	}
	return b, client, far
}

func TestE01TerminatedConnect(t *testing.T) {
	b, client, far := openTunnel(t, "", connect())
	mustWrite(t, client, "ping")
	mustRead(t, far, "ping")
	mustWrite(t, far, "hello")
	mustRead(t, client, "hello")
	_ = client.CloseWrite()
	mustEnd(t, far)
	mustWrite(t, far, "late") // the reverse direction is its own
	mustRead(t, client, "late")
	_ = far.CloseWrite()
	mustEnd(t, client)
	info := b.wait()
	if code, reset := client.ResetCode(); reset {
		t.Errorf("the client's stream was reset with %v", code)
	}
	if info.Meter.BytesReceived() != 4 || info.Meter.BytesSent() != 9 {
		t.Errorf("bytes %d/%d, want 4/9", info.Meter.BytesReceived(), info.Meter.BytesSent())
	}
	if info.ResponseCode != 200 || info.Flags != 0 || info.Details != "via_upstream" || info.Cause != nil {
		t.Errorf("ended with %d %v %q %v", info.ResponseCode, info.Flags, info.Details, info.Cause)
	}
	if v := info.Snapshot().Verdict; v != "accepted" {
		t.Errorf("verdict %q", v)
	}
}

// E10 where we differ from Envoy: the origin's end leaves our upload flowing.
func TestE10OriginEndsFirst(t *testing.T) {
	_, client, far := openTunnel(t, "", connect())
	mustWrite(t, far, "bye")
	_ = far.CloseWrite()
	mustRead(t, client, "bye")
	mustEnd(t, client)
	const upload = 1 << 20
	go func() { // ends with the upload
		mustWrite(t, client, strings.Repeat("x", upload))
		_ = client.CloseWrite()
	}()
	if n, err := io.Copy(io.Discard, far); n != upload || err != nil {
		t.Errorf("the origin read %d bytes, %v; want %d and a clean end", n, err, upload)
	}
}

func TestE12HeaderOnlyConnect(t *testing.T) {
	req := connect()
	req.EndStream = true
	b, client, far := openTunnel(t, "", req)
	mustEnd(t, far)
	mustWrite(t, far, "still")
	_ = far.CloseWrite()
	mustRead(t, client, "still")
	mustEnd(t, client)
	if info := b.wait(); info.Cause != nil {
		t.Errorf("ended with %v", info.Cause)
	}
}

func TestE14EarlyDataWaitsForTheAnswer(t *testing.T) {
	c, far := origin()
	gate := make(chan struct{})
	b := newBench(t, with(terminateRoute, ""), c, map[string]codec.Filter{"router": gatedRouter(t, c, gate)})
	client := b.send(connect())
	mustWrite(t, client, "early")
	<-gate
	if n := far.Buffered(); n != 0 {
		t.Errorf("%d bytes reached the origin before the answer", n)
	}
	gate <- struct{}{}
	head(t, client)
	mustRead(t, far, "early")
	client.Reset(codec.CodeCancel, nil)
	b.wait()
}

func TestE18RequestTrailersEndTheDirection(t *testing.T) {
	_, client, far := openTunnel(t, "", connect())
	_ = client.WriteTrailers(codec.Fields{{Name: "t", Value: "1"}})
	mustEnd(t, far)
	_ = far.CloseWrite()
	mustEnd(t, client)
}

func TestE08E09ClientResets(t *testing.T) {
	b, client, far := openTunnel(t, "", connect())
	mustWrite(t, client, "12345")
	mustRead(t, far, "12345")
	mustWrite(t, far, "123456")
	mustRead(t, client, "123456")
	client.Reset(codec.CodeCancel, nil)
	mustReset(t, far)
	info := b.wait()
	if info.Flags != network.FlagDC || info.Details != "downstream_remote_disconnect" {
		t.Errorf("ended with %v %q", info.Flags, info.Details)
	}
	if info.Meter.BytesReceived() != 5 || info.Meter.BytesSent() != 6 {
		t.Errorf("bytes %d/%d, want 5/6", info.Meter.BytesReceived(), info.Meter.BytesSent())
	}
	if n := b.stat("downstream_rq_rx_reset"); n != 1 {
		t.Errorf("downstream_rq_rx_reset %d, want 1", n)
	}
}

func TestOriginResets(t *testing.T) {
	b, client, far := openTunnel(t, "", connect())
	mustWrite(t, far, "last words")
	mustRead(t, client, "last words")
	far.Reset(codec.CodeConnect, nil)
	mustReset(t, client)
	info := b.wait()
	if code, _ := client.ResetCode(); code != codec.CodeConnect {
		t.Errorf("the client was told %v, want CONNECT_ERROR", code)
	}
	if info.Flags != network.FlagUC || info.Details != "upstream_reset_after_response_started{connection_termination}" {
		t.Errorf("ended with %v %q", info.Flags, info.Details)
	}
	if n := b.stat("downstream_rq_tx_reset"); n != 1 {
		t.Errorf("downstream_rq_tx_reset %d, want 1", n)
	}
}

func TestE11IdleTimeouts(t *testing.T) {
	const route = `{match: {connect_matcher: {}}, route: {cluster: c, idle_timeout: %, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}}`
	for _, c := range []struct {
		name, routes, more string
		after              time.Duration // 0: never
	}{
		{"unset: a quiet tunnel lives", terminateRoute, "", 0},
		{"set by hand", terminateRoute, "stream_idle_timeout: 0.2s", 200 * time.Millisecond},
		{"set to none", terminateRoute, "stream_idle_timeout: 0s", 0},
		{"on the route", strings.Replace(route, "%", "1s", 1), "stream_idle_timeout: 0.2s", time.Second},
		{"off on the route", strings.Replace(route, "%", "0s", 1), "stream_idle_timeout: 0.2s", 0},
		{"longest duration", terminateRoute, "common_http_protocol_options: {max_stream_duration: 3s}", 3 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster, far := origin()
				b := newBench(t, with(c.routes, c.more), cluster, nil)
				client := b.send(connect())
				head(t, client)
				began := time.Now()
				if c.after == 0 {
					time.Sleep(24 * time.Hour)
					synctest.Wait()
					mustWrite(t, client, "still here")
					mustRead(t, far, "still here")
					client.Reset(codec.CodeCancel, nil)
					b.wait()
					return
				}
				mustReset(t, client)
				mustReset(t, far)
				if d := time.Since(began); d != c.after {
					t.Errorf("ended after %v, want %v", d, c.after)
				}
				info := b.wait()
				if info.Flags&(network.FlagSI|network.FlagDT) == 0 || !strings.HasSuffix(info.Details, "_timeout") {
					t.Errorf("ended with %v %q", info.Flags, info.Details)
				}
				if b.stat("downstream_rq_idle_timeout")+b.stat("downstream_rq_max_duration_reached") != 1 {
					t.Error("the time-out is not counted")
				}
			})
		})
	}
}

func TestIdleWhilePending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := fakeCluster{open: func(ctx context.Context, _ *network.StreamInfo) (network.Conn, network.Handler, error) {
			<-ctx.Done()
			return nil, nil, ctx.Err()
		}}
		b := newBench(t, with(terminateRoute, ""), hangs, nil)
		began := time.Now()
		b.refuses(connect(), refusal{408, network.FlagSI, "stream_idle_timeout", "connection_timeout"})
		if d := time.Since(began); d != DefaultStreamIdleTimeout {
			t.Errorf("after %v, want %v", d, DefaultStreamIdleTimeout)
		}
	})
}

// E23, and CVE-2021-43826's crash: the client leaves while the far half is
// still being opened.
func TestE23ClientLeavesWhilePending(t *testing.T) {
	canceled := make(chan error, 1)
	hangs := fakeCluster{open: func(ctx context.Context, _ *network.StreamInfo) (network.Conn, network.Handler, error) {
		<-ctx.Done()
		canceled <- context.Cause(ctx)
		return nil, nil, ctx.Err()
	}}
	b := newBench(t, with(terminateRoute, ""), hangs, nil)
	client := b.send(connect())
	client.Reset(codec.CodeCancel, nil)
	if err := <-canceled; !network.IsReset(err) {
		t.Errorf("the dial was canceled by %v, want the client's reset", err)
	}
	info := b.wait()
	if info.ResponseCode != 0 || info.Flags != network.FlagDC || info.Details != "downstream_remote_disconnect" {
		t.Errorf("logged %d %v %q, want 0 DC", info.ResponseCode, info.Flags, info.Details)
	}
}

// The far half opened at the very moment its client left: it is not leaked.
func TestClientLeavesAsFarHalfOpens(t *testing.T) {
	near, far := streamtest.Pair(&codec.Request{Method: "TCP"})
	late := fakeCluster{open: func(ctx context.Context, _ *network.StreamInfo) (network.Conn, network.Handler, error) {
		<-ctx.Done()
		return tunnel.NewConn(near), nil, nil
	}}
	b := newBench(t, with(terminateRoute, ""), late, nil)
	b.send(connect()).Reset(codec.CodeCancel, nil)
	mustReset(t, far)
	b.wait()
}

// A filter that fails after the far half is open: it is given up, and the
// client is told.
func TestFilterFailsOnTheWayOut(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		status int
	}{
		"chosen answer": {&codec.LocalReply{Status: 429, Details: "limited"}, 429},
		"plain error":   {errors.New("bug"), 500},
	} {
		t.Run(name, func(t *testing.T) {
			cluster, far := origin()
			filters := map[string]codec.Filter{"bad": filterFunc(func(ctx context.Context, x *codec.Exchange, next codec.RoundTripper) error {
				if err := next(ctx, x); err != nil {
					return err
				}
				return c.err
			})}
			text := strings.Replace(with(terminateRoute, ""), "[{name: router}]", "[{name: bad}, {name: router}]", 1)
			b := newBench(t, text, cluster, filters)
			if res, _ := b.ask(connect()); res.Status != c.status {
				t.Errorf("status %d, want %d", res.Status, c.status)
			}
			mustReset(t, far)
			b.wait()
		})
	}
}

// A filter that makes another answer of the 200: there is no tunnel then.
func TestFilterReplacesTheAnswer(t *testing.T) {
	for name, status := range map[string]int{"refusal": 403, "redirect": 302} {
		t.Run(name, func(t *testing.T) {
			cluster, far := origin()
			filters := map[string]codec.Filter{"veto": filterFunc(func(ctx context.Context, x *codec.Exchange, next codec.RoundTripper) error {
				err := next(ctx, x)
				x.Response = &codec.Response{Status: status}
				return err
			})}
			text := strings.Replace(with(terminateRoute, ""), "[{name: router}]", "[{name: veto}, {name: router}]", 1)
			b := newBench(t, text, cluster, filters)
			if res, body := b.ask(connect()); res.Status != status || body != "" {
				t.Errorf("%d %q, want %d", res.Status, body, status)
			}
			mustReset(t, far)
			b.wait()
		})
	}
}

func TestE07PostTermination(t *testing.T) {
	const route = `{match: {prefix: "/"}, route: {cluster: c, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {allow_post: true}}]}}`
	c, far := origin()
	b := newBench(t, with(route, ""), c, nil)
	client := b.send(post("/"))
	if res := head(t, client); res.Status != 200 {
		t.Fatalf("status %d", res.Status)
	}
	mustWrite(t, client, "up")
	mustRead(t, far, "up")
	mustWrite(t, far, "down")
	mustRead(t, client, "down")
	_ = client.CloseWrite()
	mustEnd(t, far)
	_ = far.CloseWrite()
	mustEnd(t, client)
	b.wait()
}

func TestF01ProxiedConnect(t *testing.T) {
	ups := make(chan *streamtest.Server, 1)
	b := newBench(t, with(proxyRoute, ""), upstream(func(s *streamtest.Server) { ups <- s }), nil)
	client := b.send(connect())
	mustWrite(t, client, "early")
	up := <-ups
	_ = up.WriteResponse(&codec.Response{Status: 202})
	if res := head(t, client); res.Status != 202 {
		t.Errorf("F04: status %d, want 202", res.Status)
	}
	mustRead(t, up, "early")
	mustWrite(t, up, "down")
	mustRead(t, client, "down")
	up.Reset(codec.CodeConnect, nil)
	mustReset(t, client)
	if code, _ := client.ResetCode(); code != codec.CodeConnect {
		t.Errorf("reset with %v, want CONNECT_ERROR", code)
	}
	b.wait()
}

// F05, CVE-2025-64763: what a client sends before a refusal is forwarded
// neither before nor after it.
func TestF05RefusedConnectForwardsNothing(t *testing.T) {
	ups := make(chan *streamtest.Server, 1)
	b := newBench(t, with(proxyRoute, ""), upstream(func(s *streamtest.Server) { ups <- s }), nil)
	client := b.send(connect())
	mustWrite(t, client, "GET /smuggled HTTP/1.1\r\n\r\n")
	up := <-ups
	_ = up.WriteResponse(&codec.Response{Status: 400})
	if res := head(t, client); res.Status != 400 {
		t.Errorf("status %d", res.Status)
	}
	mustWrite(t, client, "more")
	mustWrite(t, up, "why")
	_ = up.CloseWrite()
	mustRead(t, client, "why")
	mustEnd(t, client)
	b.wait()
	if b, err := io.ReadAll(up); len(b) != 0 {
		t.Errorf("the upstream read %q, %v", b, err)
	}
}

// F06: a client that has ended its direction ends the tunnel's after the 200.
func TestF06EndFollowsTheAnswer(t *testing.T) {
	ups := make(chan *streamtest.Server, 1)
	b := newBench(t, with(proxyRoute, ""), upstream(func(s *streamtest.Server) { ups <- s }), nil)
	client := b.send(connect())
	mustWrite(t, client, "all")
	_ = client.CloseWrite()
	up := <-ups
	_ = up.WriteResponse(&codec.Response{Status: 200})
	mustRead(t, up, "all")
	mustEnd(t, up)
	_ = up.CloseWrite()
	mustEnd(t, client)
	b.wait()
}
