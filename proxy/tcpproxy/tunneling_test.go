package tcpproxy

import (
	"context"
	"strings"
	"testing"

	"culvert/configs/field"
	"culvert/proxy/codec"
	"culvert/proxy/network"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func header(key, value string, action corev3.HeaderValueOption_HeaderAppendAction) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: key, Value: value}, AppendAction: action}
}

const (
	appendOrAdd    = corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD
	addIfAbsent    = corev3.HeaderValueOption_ADD_IF_ABSENT
	overwriteOrAdd = corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
	overwrite      = corev3.HeaderValueOption_OVERWRITE_IF_EXISTS
)

func flowInfo() *network.StreamInfo {
	info := network.NewStreamInfo(7)
	info.LocalAddress, _ = network.ParseHostPort("192.0.2.7:443")
	info.RemoteAddress, _ = network.ParseHostPort("10.0.0.2:5555")
	info.ServerName = "origin.example"
	info.SetFilterState(network.StateDestination, "name.example:443")
	return info
}

// The request of a flow.
func TestG01G07G15G35Head(t *testing.T) {
	tests := []struct {
		name    string
		m       *tcpproxyv3.TcpProxy_TunnelingConfig
		host    string
		headers string
	}{
		{"constant", &tcpproxyv3.TcpProxy_TunnelingConfig{Hostname: "foo.lyft.com:80"}, "foo.lyft.com:80", ""},
		{"destination", &tcpproxyv3.TcpProxy_TunnelingConfig{Hostname: "%DOWNSTREAM_LOCAL_ADDRESS%"}, "192.0.2.7:443", ""},
		{"G35 server name", &tcpproxyv3.TcpProxy_TunnelingConfig{Hostname: "%REQUESTED_SERVER_NAME%:443"}, "origin.example:443", ""},
		{"G35 missing", &tcpproxyv3.TcpProxy_TunnelingConfig{Hostname: "%DYNAMIC_METADATA(a:b)%"}, "-", ""},
		{"filter state", &tcpproxyv3.TcpProxy_TunnelingConfig{Hostname: "%FILTER_STATE(culvert.destination:PLAIN)%"}, "name.example:443", ""},
		{"G15 address once", &tcpproxyv3.TcpProxy_TunnelingConfig{Hostname: "h:1", HeadersToAdd: []*corev3.HeaderValueOption{
			header("X-Original", "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%", appendOrAdd)}}, "h:1", "x-original=192.0.2.7"},
		{"actions", &tcpproxyv3.TcpProxy_TunnelingConfig{Hostname: "h:1", HeadersToAdd: []*corev3.HeaderValueOption{
			header("a", "1", appendOrAdd), header("a", "2", appendOrAdd), header("a", "3", addIfAbsent),
			header("b", "4", overwrite), header("b", "5", addIfAbsent), header("c", "6", overwriteOrAdd), header("c", "7", overwriteOrAdd),
			header("b", "8", overwrite),
		}}, "h:1", "a=1 a=2 b=8 c=7"},
		{"empty is left out", &tcpproxyv3.TcpProxy_TunnelingConfig{Hostname: "h:1", HeadersToAdd: []*corev3.HeaderValueOption{
			header("a", "", appendOrAdd), {Header: &corev3.HeaderValue{Key: "b"}, KeepEmptyValue: true}}}, "h:1", "b="},
		{"deprecated append", &tcpproxyv3.TcpProxy_TunnelingConfig{Hostname: "h:1", HeadersToAdd: []*corev3.HeaderValueOption{
			header("a", "1", appendOrAdd), {Header: &corev3.HeaderValue{Key: "a", Value: "2"}, Append: wrapperspb.Bool(false)}}}, "h:1", "a=2"},
		{"raw value", &tcpproxyv3.TcpProxy_TunnelingConfig{Hostname: "h:1", HeadersToAdd: []*corev3.HeaderValueOption{
			{Header: &corev3.HeaderValue{Key: "a", RawValue: []byte("r")}}}}, "h:1", "a=r"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tun, err := newTunneling(tt.m)
			if err != nil {
				t.Fatal(err)
			}
			req, err := tun.head(flowInfo(), false)
			if err != nil {
				t.Fatal(err)
			}
			if req.Method != "CONNECT" || req.Scheme != "" || req.Path != "" || req.HasPath || req.EndStream || req.Protocol != "" {
				t.Errorf("head %+v", req)
			}
			if req.Authority != tt.host {
				t.Errorf("authority %q, want %q", req.Authority, tt.host)
			}
			var got []string
			for _, f := range req.Header {
				got = append(got, f.Name+"="+f.Value)
			}
			if strings.Join(got, " ") != tt.headers {
				t.Errorf("headers %q, want %q", got, tt.headers)
			}
		})
	}
}

// Threat 3: what a stranger sent never breaks the head apart.
func TestHeaderInjection(t *testing.T) {
	tun, err := newTunneling(&tcpproxyv3.TcpProxy_TunnelingConfig{
		Hostname:     "%REQUESTED_SERVER_NAME%:443",
		HeadersToAdd: []*corev3.HeaderValueOption{header("x-user", "%DYNAMIC_METADATA(a:b)%", appendOrAdd)},
	})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, meta string }{
		{"a\r\nx: y", "v"}, {"a b", "v"}, {"a\x00", "v"}, {"a/b", "v"}, {"u@a", "v"}, {"a#", "v"}, {"\u00fc", "v"},
		{"ok", "v\r\nx: y"}, {"ok", "v\x00"}, {"ok", " v"}, {"ok", "v\n"}, {"ok", "\x7f"},
	}
	for _, tt := range tests {
		info := network.NewStreamInfo(1)
		info.ServerName = tt.name
		info.SetMetadata("a", "b", tt.meta)
		if req, err := tun.head(info, false); err == nil {
			if !validAuthority(req.Authority) || !codec.ValidValue(req.Header.Get("x-user")) {
				t.Errorf("%q, %q: %+v", tt.name, tt.meta, req)
			}
		} else if network.ReasonFor(err) != network.ReasonDenied {
			t.Errorf("%q, %q: %v", tt.name, tt.meta, err)
		}
	}
}

func FuzzHead(f *testing.F) {
	f.Add("origin.example", "value")
	f.Add("a\r\nb", "c\x00")
	tun, err := newTunneling(&tcpproxyv3.TcpProxy_TunnelingConfig{
		Hostname:     "%REQUESTED_SERVER_NAME%:443",
		HeadersToAdd: []*corev3.HeaderValueOption{header("x-user", "%DYNAMIC_METADATA(a:b)%", appendOrAdd)},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name, meta string) {
		info := network.NewStreamInfo(1)
		info.ServerName = name
		info.SetMetadata("a", "b", meta)
		req, err := tun.head(info, false)
		if err != nil {
			return
		}
		if strings.ContainsAny(req.Authority+req.Header.Get("x-user"), "\r\n\x00") {
			t.Errorf("%q, %q made %+v", name, meta, req)
		}
	})
}

// Filter state turns the tunnel off; StateCluster chooses the cluster.
func TestG37FilterState(t *testing.T) {
	var opened []string
	cluster := func(name string) openFunc {
		return func(context.Context, *network.StreamInfo) (network.Conn, network.Handler, error) {
			opened = append(opened, name)
			return nil, nil, errRefused
		}
	}
	m := &tcpproxyv3.TcpProxy{TunnelingConfig: &tcpproxyv3.TcpProxy_TunnelingConfig{Hostname: "h:1"}}
	r := newRig(t, m, cluster("edge"))
	r.clusters["other"] = cluster("other")

	f, _ := newFlow()
	_ = r.proxy.ServeFlow(t.Context(), f)
	if len(opened) != 0 {
		t.Fatalf("opened raw: %v", opened)
	}
	f, _ = newFlow()
	f.info.SetFilterState(stateDisableTunneling, "true")
	_ = r.proxy.ServeFlow(t.Context(), f)
	f, _ = newFlow()
	f.info.SetFilterState(stateDisableTunneling, true)
	f.info.SetFilterState(StateCluster, "other")
	_ = r.proxy.ServeFlow(t.Context(), f)
	if strings.Join(opened, " ") != "edge other" || f.info.Cluster != "other" {
		t.Errorf("opened %v, cluster %q", opened, f.info.Cluster)
	}
}

// Each attempt picks its cluster anew, by weight.
func TestH12WeightedClusters(t *testing.T) {
	var opened []string
	m := attempts(4)
	m.ClusterSpecifier = &tcpproxyv3.TcpProxy_WeightedClusters{WeightedClusters: &tcpproxyv3.TcpProxy_WeightedCluster{
		Clusters: []*tcpproxyv3.TcpProxy_WeightedCluster_ClusterWeight{{Name: "a", Weight: 1}, {Name: "b", Weight: 2}},
	}}
	r := newRig(t, m, nil)
	for _, name := range []string{"a", "b"} {
		r.clusters[name] = openFunc(func(context.Context, *network.StreamInfo) (network.Conn, network.Handler, error) {
			opened = append(opened, name)
			return nil, nil, errRefused
		})
	}
	next := int64(-1)
	r.proxy.random = func(n int64) int64 { next = (next + 1) % n; return next }
	f, _ := newFlow()
	_ = r.proxy.ServeFlow(t.Context(), f)
	if got := strings.Join(opened, " "); got != "a b b a" {
		t.Errorf("picked %s", got)
	}
}

// cannot is a cluster without HTTP streams.
type cannot struct{ openFunc }

func (cannot) CheckHTTP() error { return &field.Error{Err: context.Canceled, Fix: "configure HTTP/2"} }

// Errors of the configuration.
func TestM07M08Errors(t *testing.T) {
	type M = tcpproxyv3.TcpProxy
	tunnel := func(c *tcpproxyv3.TcpProxy_TunnelingConfig) *M { return &M{TunnelingConfig: c} }
	with := func(h *corev3.HeaderValueOption) *M {
		return tunnel(&tcpproxyv3.TcpProxy_TunnelingConfig{Hostname: "h:1", HeadersToAdd: []*corev3.HeaderValueOption{header("ok", "v", appendOrAdd), h}})
	}
	tests := []struct {
		name string
		m    *M
		path string
	}{
		{"M07", &M{BackoffOptions: &corev3.BackoffStrategy{BaseInterval: durationpb.New(2 * step), MaxInterval: durationpb.New(step)}}, "backoff_options.max_interval"},
		{"backoff below 1ms", &M{BackoffOptions: &corev3.BackoffStrategy{BaseInterval: durationpb.New(1)}}, "backoff_options.base_interval"},
		{"M08 connected", &M{FlushAccessLogOnConnected: true, AccessLogOptions: &tcpproxyv3.TcpProxy_TcpAccessLogOptions{}}, "flush_access_log_on_connected"},
		{"M08 interval", &M{AccessLogFlushInterval: durationpb.New(step), AccessLogOptions: &tcpproxyv3.TcpProxy_TcpAccessLogOptions{}}, "access_log_flush_interval"},
		{"no hostname", tunnel(&tcpproxyv3.TcpProxy_TunnelingConfig{}), "tunneling_config.hostname"},
		{"bad hostname", tunnel(&tcpproxyv3.TcpProxy_TunnelingConfig{Hostname: "%NO_SUCH_THING%"}), "tunneling_config.hostname"},
		{"pseudo header", with(header(":path", "v", appendOrAdd)), "tunneling_config.headers_to_add[1].header.key"},
		{"host", with(header("Host", "v", appendOrAdd)), "tunneling_config.headers_to_add[1].header.key"},
		{"not a name", with(header("a b", "v", appendOrAdd)), "tunneling_config.headers_to_add[1].header.key"},
		{"of the connection", with(header("Transfer-Encoding", "v", appendOrAdd)), "tunneling_config.headers_to_add[1].header.key"},
		{"bad value", with(header("a", "%NO_SUCH_THING%", appendOrAdd)), "tunneling_config.headers_to_add[1].header.value"},
		{"cluster without streams", &M{
			ClusterSpecifier: &tcpproxyv3.TcpProxy_Cluster{Cluster: "h1"},
			TunnelingConfig:  &tcpproxyv3.TcpProxy_TunnelingConfig{Hostname: "h:1"},
		}, "tunneling_config"},
		{"no weight", &M{ClusterSpecifier: &tcpproxyv3.TcpProxy_WeightedClusters{}}, "weighted_clusters.clusters"},
	}
	r := newRig(t, &M{}, nil)
	r.clusters["h1"] = cannot{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.m.ClusterSpecifier == nil {
				tt.m.ClusterSpecifier = &tcpproxyv3.TcpProxy_Cluster{Cluster: "edge"}
			}
			_, err := New(tt.m, r.deps())
			all := field.All(err)
			if len(all) != 1 || all[0].Path != tt.path {
				t.Errorf("got %v, want one error at %s", err, tt.path)
			}
		})
	}
	if _, err := New(&M{StatPrefix: "t"}, r.deps()); err == nil {
		t.Error("no cluster is no error")
	}
}
