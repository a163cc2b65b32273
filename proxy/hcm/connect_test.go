package hcm

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/httpfilter/router"
	"culvert/proxy/network"
	"culvert/tunnel"
)

// refusal is a local reply.
type refusal struct {
	status  int
	flags   network.Flag
	details string
	token   string // of Proxy-Status; empty: there is none
}

// refuses asks with req and wants one local reply.
func (b *bench) refuses(req *codec.Request, want refusal) {
	b.t.Helper()
	res, _ := b.ask(req)
	info := b.wait()
	if res.Status != want.status || info.ResponseCode != want.status || info.Flags != want.flags || info.Details != want.details {
		b.t.Errorf("got %d (logged %d) %v %q, want %+v", res.Status, info.ResponseCode, info.Flags, info.Details, want)
	}
	lines := res.Header.Values("proxy-status")
	if want.token == "" {
		if len(lines) != 0 {
			b.t.Errorf("Proxy-Status %q, want none", lines)
		}
		return
	}
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "culvert;error="+want.token+";") || !strings.Contains(lines[0], want.details) {
		b.t.Errorf("Proxy-Status %q, want %s with %s", lines, want.token, want.details)
	}
	if _, ok := tunnel.ParseProxyStatus(lines); !ok {
		b.t.Error("the other end of a tunnel cannot read it")
	}
}

func TestD01D02NoConnectRoute(t *testing.T) {
	b := newBench(t, with(plainRoute, "upgrade_configs: [{upgrade_type: CONNECT}]"), fakeCluster{}, nil)
	b.refuses(connect(), refusal{404, network.FlagNR, "route_not_found", "destination_not_found"})
	if n := b.stat("no_route"); n != 1 {
		t.Errorf("no_route %d, want 1", n)
	}
	res, _ := b.ask(&codec.Request{Method: "CONNECT", Authority: "h:80", EndStream: true})
	if res.Status != 404 {
		t.Errorf("a second one on the connection: %d", res.Status)
	}
	b.wait()
}

func TestD07AuthorityWithPort(t *testing.T) {
	for domain, want := range map[string]int{"foo.lyft.com:80": 200, "foo.lyft.com": 404} {
		c, far := origin()
		text := strings.Replace(with(terminateRoute, ""), "'*'", "'"+domain+"'", 1)
		b := newBench(t, text, c, nil)
		client := b.send(connect())
		if res := head(t, client); res.Status != want {
			t.Errorf("domain %s: %d, want %d", domain, res.Status, want)
		}
		client.Reset(codec.CodeCancel, nil)
		_ = far.Close()
		b.wait()
	}
}

func TestD11WebsocketOnConnectMatcher(t *testing.T) {
	b := newBench(t, with(terminateRoute, ""), fakeCluster{}, nil)
	b.refuses(extended("websocket"), refusal{404, network.FlagNR, "route_not_found", "destination_not_found"})
}

func TestD13EmptyPath(t *testing.T) {
	for name, c := range map[string]struct {
		path    string
		details string
	}{
		"empty":    {"", "missing_path_rejected"},
		"absolute": {"http://foo/", "absolute_path_rejected"},
		"star":     {"*", "absolute_path_rejected"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, with(terminateRoute+","+plainRoute, ""), fakeCluster{}, nil)
			req := connect()
			req.Path, req.HasPath = c.path, true
			b.refuses(req, refusal{404, 0, c.details, "destination_not_found"})
			req = get(c.path)
			b.refuses(req, refusal{404, 0, c.details, "destination_not_found"})
		})
	}
}

func TestMissingHost(t *testing.T) {
	b := newBench(t, with(terminateRoute, ""), fakeCluster{}, nil)
	b.refuses(&codec.Request{Method: "CONNECT"}, refusal{400, 0, "missing_host_header", "http_request_denied"})
}

func TestD14UpgradeNowhereEnabled(t *testing.T) {
	b := newBench(t, with(`{match: {connect_matcher: {}}, route: {cluster: c}}`, ""), fakeCluster{}, nil)
	b.refuses(connect(), refusal{403, 0, "upgrade_failed", "http_request_denied"})
	if n := b.stat("downstream_rq_ws_on_non_ws_route"); n != 1 {
		t.Errorf("downstream_rq_ws_on_non_ws_route %d, want 1", n)
	}
	if n := b.stat("downstream_cx_upgrades_total"); n != 0 {
		t.Errorf("downstream_cx_upgrades_total %d, want 0", n)
	}
}

func TestD15UnknownCluster(t *testing.T) {
	text := with(`{match: {connect_matcher: {}}, route: {cluster: nope, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}}`, "")
	b := newBench(t, text, fakeCluster{}, nil)
	b.refuses(connect(), refusal{503, network.FlagNC, "cluster_not_found", "proxy_configuration_error"})
	if n := b.stat("no_cluster"); n != 1 {
		t.Errorf("no_cluster %d, want 1", n)
	}
}

// Who may upgrade: the table of Envoy's per-route override.
func TestA01A05UpgradeDecision(t *testing.T) {
	const none, yes, no = "", "{upgrade_type: Foo}", "{upgrade_type: foo, enabled: false}"
	for _, c := range []struct {
		name        string
		ours, route string
		allowed     bool
	}{
		{"A01 listed here, route silent", yes, none, true},
		{"listed in both", yes, yes, true},
		{"A02 listed here, off on the route", yes, no, false},
		{"A03 off here, on the route", no, yes, true},
		{"A04 only the route", none, yes, true},
		{"off here, route silent", no, none, false},
		{"A05 nowhere", none, none, false},
		{"off on the route only", none, no, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := with(`{match: {prefix: "/"}, route: {cluster: c, upgrade_configs: [`+c.route+`]}}`, "upgrade_configs: ["+c.ours+"]")
			b := newBench(t, text, nil, map[string]codec.Filter{"router": answers(207)})
			res, _ := b.ask(extended("foo"))
			b.wait()
			want := 403
			if c.allowed {
				want = 207
			}
			if res.Status != want {
				t.Errorf("status %d, want %d", res.Status, want)
			}
		})
	}
}

func TestA07UpgradeOnDirectResponse(t *testing.T) {
	b := newBench(t, with(directRoute, ""), nil, nil)
	b.refuses(extended("websocket"), refusal{403, 0, "upgrade_failed", "http_request_denied"})
	if res, body := b.ask(get("/")); res.Status != 200 || body != "hello" {
		t.Errorf("GET: %d %q", res.Status, body)
	}
	b.wait()
}

func TestA08A10UpgradeHasChainOfItsOwn(t *testing.T) {
	text := with(plainRoute, "upgrade_configs: [{upgrade_type: foo, filters: [{name: own}]}, {upgrade_type: bar}]")
	b := newBench(t, text, nil, map[string]codec.Filter{"router": answers(207), "own": answers(208)})
	for kind, want := range map[string]int{"foo": 208, "FOO": 208, "bar": 207} {
		if res, _ := b.ask(extended(kind)); res.Status != want {
			t.Errorf("%s: %d, want %d", kind, res.Status, want)
		}
	}
	if res, _ := b.ask(get("/")); res.Status != 207 {
		t.Errorf("GET: %d, want the default chain", res.Status)
	}
	b.wait()
}

func TestA14A15UpgradeCounts(t *testing.T) {
	c, far := origin()
	reached := make(chan struct{})
	filters := map[string]codec.Filter{"router": gatedRouter(t, c, reached)}
	b := newBench(t, with(terminateRoute, ""), c, filters)
	client := b.send(connect())
	<-reached
	if total, active := b.stat("downstream_cx_upgrades_total"), b.stat("downstream_cx_upgrades_active"); total != 1 || active != 1 {
		t.Errorf("before the upstream answers: total %d active %d, want 1 and 1", total, active)
	}
	reached <- struct{}{}
	head(t, client)
	_ = client.CloseWrite()
	_ = far.CloseWrite()
	b.wait()
	if active := b.stat("downstream_cx_upgrades_active"); active != 0 {
		t.Errorf("after the end: active %d, want 0", active)
	}
	_ = far.Close()
}

func TestE25E21ConnectFailures(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want refusal
	}{
		{"E21 refused", fmt.Errorf("dial: %w", syscall.ECONNREFUSED), refusal{503, network.FlagUF,
			"upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}", "connection_refused"}},
		{"E22 timeout", network.WithReason(network.ReasonTimeout, nil), refusal{503, network.FlagUF,
			"upstream_reset_before_response_started{connection_timeout}", "connection_timeout"}},
		{"unroutable", syscall.ENETUNREACH, refusal{503, network.FlagUF,
			"upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Network_is_unreachable}", "destination_ip_unroutable"}},
		{"egress policy", network.WithReason(network.ReasonProhibited, nil), refusal{403, network.FlagUH,
			"destination_ip_prohibited", "destination_ip_prohibited"}},
		{"E25 no host", network.WithReason(network.ReasonNoHealthy, nil), refusal{503, network.FlagUH,
			"no_healthy_upstream", "destination_unavailable"}},
		{"name", network.WithReason(network.ReasonDNS, nil), refusal{503, network.FlagDF,
			"upstream_reset_before_response_started{remote_connection_failure}", "dns_error"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, with(terminateRoute, ""), fails(c.err), nil)
			b.refuses(connect(), c.want)
			snap := b.flows.Ended()[0].Snapshot()
			if want := network.VerdictFor(c.err).String(); snap.Verdict != want {
				t.Errorf("the flow table says %q, want %q", snap.Verdict, want)
			}
		})
	}
}

// The far half of every path through a CONNECT without a path must not look
// for one: CVE-2026-73547, CVE-2026-47204, GHSA-8vc2-jrm4-835w,
// GHSA-47vj-9r25-wv5j.
func TestPathlessConnectEverywhere(t *testing.T) {
	for name, route := range map[string]string{
		"terminated":            terminateRoute,
		"proxied":               proxyRoute,
		"prefix_rewrite":        `{match: {connect_matcher: {}}, route: {cluster: c, prefix_rewrite: /x, host_rewrite_literal: h, upgrade_configs: [{upgrade_type: CONNECT}]}}`,
		"cluster_header":        `{match: {connect_matcher: {}}, route: {cluster_header: ":path", upgrade_configs: [{upgrade_type: CONNECT}]}}`,
		"header match on :path": `{match: {connect_matcher: {}, headers: [{name: ":path", string_match: {prefix: "/"}}]}, route: {cluster: c}}`,
		"redirect":              `{match: {connect_matcher: {}}, redirect: {prefix_rewrite: /x, strip_query: true}}`,
		"direct response":       `{match: {connect_matcher: {}}, direct_response: {status: 200}}`,
		"path routes only":      plainRoute,
		"regex":                 `{match: {safe_regex: {regex: ".*"}}, route: {cluster: c}}`,
	} {
		t.Run(name, func(t *testing.T) {
			c := fails(syscall.ECONNREFUSED)
			c.stream = func(*codec.Request) (codec.ClientStream, error) { return nil, syscall.ECONNREFUSED }
			more := "upgrade_configs: [{upgrade_type: CONNECT}]\nvia: v\nuse_remote_address: true\n" +
				"scheme_header_transformation: {scheme_to_overwrite: https}\n" +
				"access_log_options: {flush_access_log_on_new_request: true}"
			b := newBench(t, with(route, more), router.Cluster(c), nil)
			res, _ := b.ask(connect())
			b.wait()
			if res.Status == 0 || res.Status == 500 {
				t.Errorf("status %d", res.Status)
			}
		})
	}
}
