package stats

import (
	"errors"
	"io"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// WritePrometheus writes the Prometheus text exposition format 0.0.4.
func (s *Store) WritePrometheus(w io.Writer) error { return s.WritePrometheusOf(w, Filter{}) }

// WritePrometheusOf writes what f picks in the Prometheus text exposition
// format 0.0.4. Metrics that cannot be exposed beside others are left out and
// reported in the error; the rest is written.
func (s *Store) WritePrometheusOf(w io.Writer, f Filter) error {
	registry := prometheus.NewRegistry()
	if err := registry.Register(s.Collector(f)); err != nil {
		return err
	}
	families, gatherErr := registry.Gather()
	enc := expfmt.NewEncoder(w, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, family := range families {
		family.Help = nil // Envoy has none, and an empty HELP line says nothing
		if err := enc.Encode(family); err != nil {
			return err
		}
	}
	return gatherErr
}

// Collector is what f picks as a Prometheus collector, for an exporter of the
// caller's own.
func (s *Store) Collector(f Filter) prometheus.Collector { return collector{s, f} }

type collector struct {
	store  *Store
	filter Filter
}

// Describe sends nothing: metrics come and go with the configuration, so the
// collector is an unchecked one.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends every metric's value.
func (c collector) Collect(out chan<- prometheus.Metric) {
	numbers, histograms := c.store.read(c.filter)
	for _, r := range numbers {
		desc, labels := r.describe()
		kind := prometheus.GaugeValue
		if r.kind == Counters {
			kind = prometheus.CounterValue
		}
		send(out, desc, func() (prometheus.Metric, error) {
			return prometheus.NewConstMetric(desc, kind, float64(r.value), labels...)
		})
	}
	for _, r := range histograms {
		desc, labels := r.describe()
		b := r.histogram.snapshot()
		buckets := make(map[float64]uint64)
		for _, limit := range bounds() {
			buckets[limit] = b.below(limit)
		}
		send(out, desc, func() (prometheus.Metric, error) {
			return prometheus.NewConstHistogram(desc, b.count, b.sum, buckets, labels...)
		})
	}
}

func send(out chan<- prometheus.Metric, desc *prometheus.Desc, make func() (prometheus.Metric, error)) {
	m, err := make()
	if err != nil {
		m = prometheus.NewInvalidMetric(desc, errors.Join(errors.New(desc.String()), err))
	}
	out <- m
}

// describe is the Prometheus name and label names of a metric, and the label
// values beside.
func (r reading) describe() (*prometheus.Desc, []string) {
	var names, values []string
	seen := make(map[string]bool)
	for i := len(r.tags) - 1; i >= 0; i-- { // the innermost scope's word counts
		if t := r.tags[i]; !seen[t.Name] {
			seen[t.Name] = true
			names, values = append(names, t.Name), append(values, strings.ToValidUTF8(t.Value, "_"))
		}
	}
	return prometheus.NewDesc(prometheusName(r.family), "", names, nil), values
}

// prometheusName is "envoy_" and the family with every byte that a Prometheus
// name cannot have replaced by an underscore.
func prometheusName(family string) string {
	b := []byte("envoy_" + family)
	for i, c := range b {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		default:
			b[i] = '_'
		}
	}
	return string(b)
}
