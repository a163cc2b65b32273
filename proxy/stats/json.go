package stats

import (
	"encoding/json"
	"io"
	"math"
)

// The shape of Envoy's /stats?format=json.
type (
	jsonPage struct {
		Stats []any `json:"stats"`
	}
	jsonNumber struct {
		Name  string `json:"name"`
		Value int64  `json:"value"`
	}
	jsonHistograms struct {
		Histograms struct {
			Quantiles []float64       `json:"supported_quantiles"`
			Computed  []jsonHistogram `json:"computed_quantiles"`
		} `json:"histograms"`
	}
	jsonHistogram struct {
		Name   string       `json:"name"`
		Values []jsonValues `json:"values"`
	}
	jsonValues struct {
		Interval   *float64 `json:"interval"` // null: no value
		Cumulative *float64 `json:"cumulative"`
	}
)

// WriteJSON writes Envoy's /stats?format=json.
func (s *Store) WriteJSON(w io.Writer, f Filter) error {
	numbers, histograms := s.read(f)
	page := jsonPage{Stats: []any{}}
	for _, r := range numbers {
		page.Stats = append(page.Stats, jsonNumber{r.name, r.value})
	}
	if len(histograms) > 0 {
		page.Stats = append(page.Stats, jsonOf(histograms))
	}
	return json.NewEncoder(w).Encode(page)
}

func jsonOf(histograms []reading) jsonHistograms {
	var out jsonHistograms
	for _, q := range quantiles() {
		out.Histograms.Quantiles = append(out.Histograms.Quantiles, 100*q)
	}
	for _, r := range histograms {
		total, interval := r.histogram.snapshot(), r.histogram.lastInterval()
		j := jsonHistogram{Name: r.name}
		for _, q := range quantiles() {
			j.Values = append(j.Values, jsonValues{orNull(interval.quantile(q)), orNull(total.quantile(q))})
		}
		out.Histograms.Computed = append(out.Histograms.Computed, j)
	}
	return out
}

func orNull(v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	return &v
}
