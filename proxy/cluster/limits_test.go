package cluster

import (
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	metadatav3 "github.com/envoyproxy/go-control-plane/envoy/type/metadata/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// E13: max_stream_duration ends a terminated CONNECT, and nothing raw besides.
func TestE13MaxStreamDuration(t *testing.T) {
	addr, _ := echo(t)
	m := static1(addr)
	m.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{MaxStreamDuration: durationpb.New(50 * time.Millisecond)}
	c := start(t, m, nil)
	conn, _, err := c.OpenFor(t.Context(), connectHead(), info())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("it ended in order")
	}
	_ = conn.Close()
	if c.value("upstream_rq_max_duration_reached") != 1 || c.value("upstream_cx_active") != 0 {
		t.Errorf("reached %d, active %d", c.value("upstream_rq_max_duration_reached"), c.value("upstream_cx_active"))
	}
	if network.FlagFor(errMaxStream) != network.FlagUMSDR {
		t.Error("the flag is another")
	}
}

func TestMaxConnectionDuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPoolRig(t, static1("192.0.2.1:443"))
		r.http.maxConnection = time.Minute
		s := r.open(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		_ = r.open(t).Close()
		if len(r.made()) != 2 || r.value("upstream_cx_max_duration_reached") != 1 || r.value("upstream_cx_active") != 2 {
			t.Errorf("%d connections, reached %d", len(r.made()), r.value("upstream_cx_max_duration_reached"))
		}
		_ = s.Close()
		synctest.Wait()
		if r.value("upstream_cx_active") != 1 {
			t.Error("the old connection is still there")
		}
	})
}

func TestMaxRequestsPerHTTP2Connection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPoolRig(t, static1("192.0.2.1:443"))
		r.http.maxRequests = 2
		a, b, c := r.open(t), r.open(t), r.open(t)
		_, _, _ = a.Close(), b.Close(), c.Close()
		synctest.Wait()
		if len(r.made()) != 2 || r.value("upstream_cx_max_requests") != 1 || r.value("upstream_cx_active") != 1 {
			t.Errorf("%d connections, %d full, %d left", len(r.made()), r.value("upstream_cx_max_requests"), r.value("upstream_cx_active"))
		}
	})
}

func TestMaxRetries(t *testing.T) {
	m := static1("192.0.2.1:1")
	m.CircuitBreakers = &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{MaxRetries: u32(1), TrackRemaining: true}}}
	c := start(t, m, nil)
	release, ok := c.AcquireRetry()
	if _, again := c.AcquireRetry(); !ok || again {
		t.Error("one retry at a time")
	}
	release()
	if release, ok = c.AcquireRetry(); !ok {
		t.Error("the place is lost")
	}
	release()
	if c.value("upstream_rq_retry") != 2 || c.value("upstream_rq_retry_overflow") != 1 {
		t.Error("counts are wrong")
	}
}

// What /clusters shows of an endpoint.
func TestStatus(t *testing.T) {
	srv := serveScript(t, func(int, int) []byte { return okAnswer })
	m := static1(srv.addr)
	m.AltStatName = "other"
	m.CircuitBreakers = &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{MaxConnections: u32(1024), MaxRetries: u32(3)}}}
	c := start(t, m, nil)
	s, err := c.OpenStream(t.Context(), get(), info())
	if err != nil {
		t.Fatal(err)
	}
	i := info()
	i.SetUpstream(&network.UpstreamInfo{Host: c.hosts.known()[0].address})
	c.Responded(i.Upstream(), 200, time.Millisecond)
	c.Responded(i.Upstream(), 503, time.Millisecond)
	c.Responded(i.Upstream(), 0, time.Millisecond)
	got := c.Status()
	h := got.Hosts[0]
	if got.Name != "edge" || got.ObservabilityName != "other" || got.MaxConnections != 1024 || got.MaxRetries != 3 ||
		h.Health != "healthy" || h.CxActive != 1 || h.CxTotal != 1 || h.RqActive != 1 || h.RqTotal != 1 ||
		h.RqSuccess != 1 || h.RqError != 2 || h.RqTimeout != 1 {
		t.Errorf("%+v", got)
	}
	for name, want := range map[string]int64{"upstream_rq_completed": 2, "upstream_rq_2xx": 1, "upstream_rq_503": 1, "upstream_rq_timeout": 1} {
		if v, _ := c.deps.Stats.Value("cluster.other." + name); v != want {
			t.Errorf("%s %d, want %d", name, v, want)
		}
	}
	_ = s.Close()
}

// A chosen endpoint's counts are kept while it is used, and a moment longer.
func TestRecentHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPoolRig(t, originalDstCluster(&clusterv3.Cluster_OriginalDstLbConfig{UseHttpHeader: true, HttpHeaderName: ":authority"}))
		s, err := r.OpenStream(t.Context(), &codec.Request{Method: "GET", Authority: "8.8.8.8:80"}, info())
		if err != nil {
			t.Fatal(err)
		}
		r.made()[0].Drain()
		time.Sleep(time.Minute)
		if h := r.Status().Hosts; len(h) != 1 || h[0].RqActive != 1 {
			t.Errorf("in use: %+v", h)
		}
		_ = s.Close()
		synctest.Wait()
		if h := r.Status().Hosts; len(h) != 0 {
			t.Errorf("long unused: %+v", h)
		}
	})
}

// ORIGINAL_DST by metadata_key, before the header and after filter state.
func TestOriginalDstMetadata(t *testing.T) {
	lb := &clusterv3.Cluster_OriginalDstLbConfig{UseHttpHeader: true, HttpHeaderName: ":authority", MetadataKey: &metadatav3.MetadataKey{
		Key: "ns", Path: []*metadatav3.MetadataKey_PathSegment{
			{Segment: &metadatav3.MetadataKey_PathSegment_Key{Key: "a"}}, {Segment: &metadatav3.MetadataKey_PathSegment_Key{Key: "b"}},
		},
	}}
	c := start(t, originalDstCluster(lb), nil)
	head := &codec.Request{Authority: "8.8.8.1:80"}
	conn := info()
	conn.SetMetadata("ns", "a", map[string]any{"b": "8.8.8.2:80"})
	h, err := c.hosts.pick(t.Context(), head, conn.Child(2))
	if err != nil || h.address.String() != "8.8.8.2:80" {
		t.Errorf("%v, %v", h, err)
	}
	conn.SetFilterState(StateOriginalDst, "8.8.8.3:80")
	if h, _ = c.hosts.pick(t.Context(), head, conn.Child(2)); h.address.String() != "8.8.8.3:80" {
		t.Errorf("%v", h)
	}
	if h, _ = c.hosts.pick(t.Context(), head, info()); h.address.String() != "8.8.8.1:80" {
		t.Errorf("%v", h)
	}
	bad := info()
	bad.SetMetadata("ns", "a", map[string]any{"b": "name:80"})
	if _, err := c.hosts.pick(t.Context(), head, bad); network.FlagFor(err) != network.FlagUH || c.value("original_dst_host_invalid") != 1 {
		t.Errorf("%v", err)
	}
}
