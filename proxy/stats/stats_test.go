package stats

import (
	"bytes"
	"encoding/json"
	"math"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// example is a store as a running culvert has it.
func example() *Store {
	s := NewStore()
	cluster := s.Scope("cluster.edge.", Tag{"envoy_cluster_name", "edge"})
	cluster.Counter("upstream_cx_total").Add(3)
	cluster.Counter("upstream_rq_200").Inc()
	cluster.Counter("upstream_rq_2xx").Inc()
	cluster.Counter("upstream_cx_overflow")
	cluster.Gauge("upstream_cx_active").Set(2)
	cluster.Gauge("membership_total")
	cluster.Histogram("upstream_cx_connect_ms").Record(12)
	cluster.Histogram("upstream_cx_length_ms")
	s.Scope("listener.127.0.0.1:10001", Tag{"envoy_listener_address", "127.0.0.1:10001"}).Counter("downstream_cx_total").Inc()
	s.Scope("http.ingress_http", Tag{"envoy_http_conn_manager_prefix", "ingress_http"}).Gauge("downstream_cx_upgrades_active").Inc()
	s.Scope("server").GaugeFunc("uptime", func() int64 { return 7 })
	return s
}

func TestText(t *testing.T) {
	for _, c := range []struct {
		name   string
		query  string
		want   string
		absent string
	}{
		{"all", "", `cluster.edge.membership_total: 0
cluster.edge.upstream_cx_active: 2
cluster.edge.upstream_cx_overflow: 0
cluster.edge.upstream_cx_total: 3
cluster.edge.upstream_rq_200: 1
cluster.edge.upstream_rq_2xx: 1
http.ingress_http.downstream_cx_upgrades_active: 1
listener.127.0.0.1_10001.downstream_cx_total: 1
server.uptime: 7
cluster.edge.upstream_cx_connect_ms: P0(nan,12) P25(nan,12.25) P50(nan,12.5) P75(nan,12.75) P90(nan,12.9) P95(nan,12.95) P99(nan,12.99) P99.5(nan,12.995) P99.9(nan,12.999) P100(nan,13)
cluster.edge.upstream_cx_length_ms: No recorded values
`, ""},
		{"used only", "usedonly", "cluster.edge.upstream_cx_total: 3\n", "overflow|membership|length_ms"},
		{"filter", "filter=cx_t", "cluster.edge.upstream_cx_total: 3\nlistener.127.0.0.1_10001.downstream_cx_total: 1\n", "uptime"},
		{"counters", "type=Counters", "cluster.edge.upstream_rq_2xx: 1\n", "active|_ms|uptime"},
		{"gauges", "type=Gauges&filter=upstream", "cluster.edge.upstream_cx_active: 2\n", "total|_ms"},
		{"histograms", "type=Histograms&histogram_buckets=cumulative", " B10(0,0) B25(0,1) B50(0,1) ", "total"},
		{"disjoint", "type=Histograms&histogram_buckets=disjoint", " B10(0,0) B25(0,1) B50(0,0) ", "total"},
		{"text readouts", "type=TextReadouts", "", ":"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, _ := url.ParseQuery(c.query)
			f, err := ParseFilter(q)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if err := example().WriteText(&b, f); err != nil {
				t.Fatal(err)
			}
			if c.query == "" && b.String() != c.want {
				t.Errorf("got\n%swant\n%s", b.String(), c.want)
			}
			if !strings.Contains(b.String(), c.want) {
				t.Errorf("%q is not in\n%s", c.want, b.String())
			}
			if c.absent != "" && regexp.MustCompile(c.absent).MatchString(b.String()) {
				t.Errorf("%q is in\n%s", c.absent, b.String())
			}
		})
	}
}

func TestParseFilterErrors(t *testing.T) {
	for _, q := range []url.Values{
		{"filter": {"("}}, {"type": {"Kites"}}, {"histogram_buckets": {"leaky"}},
	} {
		if _, err := ParseFilter(q); err == nil {
			t.Errorf("%v: no error", q)
		}
	}
}

func TestPrometheus(t *testing.T) {
	var b bytes.Buffer
	if err := example().WritePrometheus(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# TYPE envoy_cluster_upstream_cx_total counter\n",
		`envoy_cluster_upstream_cx_total{envoy_cluster_name="edge"} 3`,
		`envoy_cluster_upstream_rq{envoy_cluster_name="edge",envoy_response_code="200"} 1`,
		`envoy_cluster_upstream_rq_xx{envoy_cluster_name="edge",envoy_response_code_class="2"} 1`,
		"# TYPE envoy_cluster_upstream_cx_active gauge\n",
		`envoy_listener_downstream_cx_total{envoy_listener_address="127.0.0.1_10001"} 1`,
		`envoy_http_downstream_cx_upgrades_active{envoy_http_conn_manager_prefix="ingress_http"} 1`,
		"envoy_server_uptime 7\n",
		"# TYPE envoy_cluster_upstream_cx_connect_ms histogram\n",
		`envoy_cluster_upstream_cx_connect_ms_bucket{envoy_cluster_name="edge",le="10"} 0`,
		`envoy_cluster_upstream_cx_connect_ms_bucket{envoy_cluster_name="edge",le="25"} 1`,
		`envoy_cluster_upstream_cx_connect_ms_bucket{envoy_cluster_name="edge",le="+Inf"} 1`,
		`envoy_cluster_upstream_cx_connect_ms_sum{envoy_cluster_name="edge"} 12`,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing", want)
		}
	}
	if strings.Contains(b.String(), "# HELP") {
		t.Error("HELP lines without help")
	}
	if t.Failed() {
		t.Log(b.String())
	}
}

// A counter and a gauge of one family cannot be exposed together: one is left
// out and said, the rest stands.
func TestPrometheusConflict(t *testing.T) {
	s := example()
	s.Scope("odd").Counter("one").Inc()
	s.Scope("odd").Gauge("one").Inc()
	var b bytes.Buffer
	if err := s.WritePrometheus(&b); err == nil {
		t.Error("no error")
	}
	if !strings.Contains(b.String(), "envoy_server_uptime 7") {
		t.Error("the rest was not written")
	}
}

func TestJSON(t *testing.T) {
	s := example()
	s.Flush()
	var b bytes.Buffer
	if err := s.WriteJSON(&b, Filter{UsedOnly: true}); err != nil {
		t.Fatal(err)
	}
	var page struct {
		Stats []struct {
			Name       string
			Value      int64
			Histograms struct {
				Computed []struct {
					Name   string
					Values []struct{ Interval, Cumulative *float64 }
				} `json:"computed_quantiles"`
			}
		}
	}
	if err := json.Unmarshal(b.Bytes(), &page); err != nil {
		t.Fatal(err)
	}
	last := page.Stats[len(page.Stats)-1].Histograms.Computed
	if page.Stats[0].Name != "cluster.edge.upstream_cx_active" || page.Stats[0].Value != 2 {
		t.Errorf("first: %+v", page.Stats[0])
	}
	if len(last) != 1 || *last[0].Values[0].Interval != 12 || *last[0].Values[0].Cumulative != 12 {
		t.Errorf("histograms: %s", b.String())
	}
}

func TestSameNameSameMetric(t *testing.T) {
	s := NewStore()
	a := s.Scope("tcp.x", Tag{"envoy_tcp_prefix", "x"})
	b := s.Scope("tcp").Scope("x.")
	if a.Counter("n") != b.Counter("n") || a.Gauge("n") != b.Gauge("n") || a.Histogram("n") != b.Histogram("n") {
		t.Error("two metrics of one name")
	}
	a.Counter("n").Add(4)
	if v, ok := s.Value("tcp.x.n"); !ok || v != 4 {
		t.Errorf("Value: %d, %v", v, ok)
	}
	if _, ok := s.Value("tcp.x.m"); ok {
		t.Error("a value of nothing")
	}
	s.ResetCounters()
	if v := a.Counter("n").Value(); v != 0 {
		t.Errorf("after reset: %d", v)
	}
}

func TestFamily(t *testing.T) {
	for _, c := range []struct{ prefix, tag, name, want string }{
		{"cluster.a.b.c.", "a.b.c", "n", "cluster.n"},
		{"cluster.cluster.", "cluster", "n", "cluster.n"},
		{"cluster.xa.", "a", "n", "cluster.xa.n"},
		{"tcp.t.", "", "n", "tcp.t.n"},
		{"x.", "x", "rq_total", "rq_total"},
		{"c.a.", "a", "upstream_rq_9ab", "c.upstream_rq_9ab"},
	} {
		e := NewStore().Scope(c.prefix, Tag{"tag", c.tag})
		if got, _ := e.describe(c.name); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// Two generations may serve the same gauge at once; each takes only its own
// function away.
func TestGaugeFunc(t *testing.T) {
	s := NewStore()
	a := s.Scope("g").GaugeFunc("n", func() int64 { return 1 })
	b := s.Scope("g").GaugeFunc("n", func() int64 { return 10 })
	for _, c := range []struct {
		do   func()
		want int64
		ok   bool
	}{{func() {}, 11, true}, {a, 10, true}, {a, 10, true}, {b, 0, false}} {
		c.do()
		if v, ok := s.Value("g.n"); v != c.want || ok != c.ok {
			t.Errorf("got %d, %v, want %d, %v", v, ok, c.want, c.ok)
		}
	}
}

// A function may read the store it is part of.
func TestGaugeFuncReadsStore(t *testing.T) {
	s := NewStore()
	n := s.Scope("g").Counter("n")
	n.Add(3)
	s.Scope("g").GaugeFunc("twice", func() int64 { return 2 * int64(s.Scope("g").Counter("n").Value()) })
	var b bytes.Buffer
	if err := s.WriteText(&b, Filter{}); err != nil || !strings.Contains(b.String(), "g.twice: 6\n") {
		t.Errorf("%v, %s", err, b.String())
	}
}

func TestBins(t *testing.T) {
	for _, v := range []float64{1, 1.05, 9.9, 9.99, 10, 0.5, 0.1, 0.3, 25, 99, 100, 250, 1e-9, 1234567, 3600000, 8.1e15} {
		h := newHistogram()
		h.Record(v)
		b := h.snapshot()
		if len(b.list) != 1 {
			t.Fatalf("%v: %v", v, b)
		}
		low, high := b.list[0].low, b.list[0].low+b.list[0].width
		if v < low*(1-1e-9) || v > high*(1+1e-9) || high-low > v/9.9 {
			t.Errorf("%v is in %v to %v", v, low, high)
		}
	}
	h := newHistogram()
	for _, v := range []float64{0, -1, math.NaN(), math.Inf(1), 1e-300} {
		h.Record(v)
	}
	if b := h.snapshot(); b.count != 5 || b.list[0].low != 0 || b.sum != 0 {
		t.Errorf("odd values: %+v", b)
	}
	h.Record(1e300)
	if h.Count() != 6 {
		t.Error("a huge value is not counted")
	}
}

func TestQuantilesAndInterval(t *testing.T) {
	h := newHistogram()
	for i := 1; i <= 1000; i++ {
		h.RecordDuration(time.Duration(i) * time.Millisecond)
	}
	b := h.snapshot()
	for _, q := range quantiles()[1:9] {
		if got := b.quantile(q); math.Abs(got-1000*q) > 12 {
			t.Errorf("P%v is %v", 100*q, got)
		}
	}
	if b.sum != 500500 || b.count != 1000 {
		t.Errorf("sum %v, count %d", b.sum, b.count)
	}
	h.flush()
	h.Record(5)
	h.Record(2000)
	h.flush()
	if i := h.lastInterval(); i.count != 2 || i.list[0].low != 5 || i.list[1].low != 2000 {
		t.Errorf("interval: %+v", i)
	}
	h.flush()
	if i := h.lastInterval(); i.count != 0 {
		t.Errorf("empty interval: %+v", i)
	}
}

func TestConcurrentUse(t *testing.T) {
	s := NewStore()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 1000 {
				sc := s.Scope("c.", Tag{"tag", "c"})
				sc.Counter("n").Inc()
				sc.Gauge("g").Add(1)
				sc.Histogram("h").Record(float64(i))
				if i%100 == 0 {
					s.Flush()
					_ = s.WriteText(&bytes.Buffer{}, Filter{})
				}
			}
		})
	}
	wg.Wait()
	sc := s.Scope("c.")
	if n, g, h := sc.Counter("n").Value(), sc.Gauge("g").Value(), sc.Histogram("h").Count(); n != 8000 || g != 8000 || h != 8000 {
		t.Errorf("counted %d, %d, %d", n, g, h)
	}
}

func TestNoAllocations(t *testing.T) {
	sc := NewStore().Scope("c.")
	c, g, h := sc.Counter("n"), sc.Gauge("g"), sc.Histogram("h")
	h.Record(3)
	if n := testing.AllocsPerRun(100, func() { c.Inc(); g.Inc(); h.Record(3) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCounterInc(b *testing.B) {
	c := NewStore().Scope("c.").Counter("n")
	b.ReportAllocs()
	for b.Loop() {
		c.Inc()
	}
}

func BenchmarkHistogramRecord(b *testing.B) {
	h := NewStore().Scope("c.").Histogram("n")
	b.ReportAllocs()
	for b.Loop() {
		h.Record(12.3)
	}
}
