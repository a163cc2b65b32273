package admin

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"culvert/proxy/stats"
)

// StatsStore prints counters, gauges and histograms.
type StatsStore interface {
	WriteText(w io.Writer, f stats.Filter) error
	WriteJSON(w io.Writer, f stats.Filter) error
	WritePrometheusOf(w io.Writer, f stats.Filter) error
}

// ListenerStatus is one line of /listeners.
type ListenerStatus struct {
	Name    string `json:"name"`
	Address string `json:"local_address"`
}

func readyPage(d Deps) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		state := d.State()
		if state != "LIVE" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintln(w, state)
	}
}

func statsPage(d Deps) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		writeStats(w, r, d.Stats, r.URL.Query().Get("format"))
	}
}

func prometheusPage(d Deps) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { writeStats(w, r, d.Stats, "prometheus") }
}

func writeStats(w http.ResponseWriter, r *http.Request, store StatsStore, format string) {
	f, err := stats.ParseFilter(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch format {
	case "":
		_ = store.WriteText(w, f) // the reader is gone; nothing to tell it
	case "json":
		w.Header().Set("Content-Type", "application/json")
		_ = store.WriteJSON(w, f)
	case "prometheus":
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_ = store.WritePrometheusOf(w, f)
	default:
		http.Error(w, "usage: /stats?format=json|prometheus", http.StatusBadRequest)
	}
}

func listenersPage(d Deps) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("format") == "json" {
			writeJSON(w, map[string]any{"listener_statuses": d.Listeners()})
			return
		}
		for _, l := range d.Listeners() {
			fmt.Fprintf(w, "%s::%s\n", l.Name, l.Address)
		}
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	_ = e.Encode(v)
}
