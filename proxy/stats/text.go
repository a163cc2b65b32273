package stats

import (
	"io"
)

// WriteText writes Envoy's /stats.
func (s *Store) WriteText(w io.Writer, f Filter) error { return nil }

// WriteJSON writes Envoy's /stats?format=json.
func (s *Store) WriteJSON(w io.Writer, f Filter) error { return nil }

// WritePrometheus writes the Prometheus text exposition format 0.0.4.
func (s *Store) WritePrometheus(w io.Writer) error { return nil }
