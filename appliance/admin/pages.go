package admin

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"

	"culvert/proxy/stats"
)

// StatsStore prints counters, gauges and histograms.
type StatsStore interface {
	WriteText(w io.Writer, f stats.Filter) error
	WriteJSON(w io.Writer, f stats.Filter) error
	WritePrometheus(w io.Writer) error
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
		q := r.URL.Query()
		var f stats.Filter
		f.UsedOnly = q.Has("usedonly")
		if expr := q.Get("filter"); expr != "" {
			re, err := regexp.Compile(expr)
			if err != nil {
				http.Error(w, "Invalid re2 regex: "+err.Error(), http.StatusBadRequest)
				return
			}
			f.Name = re
		}
		switch format := q.Get("format"); format {
		case "":
			_ = d.Stats.WriteText(w, f) // the reader is gone; nothing to tell it
		case "json":
			w.Header().Set("Content-Type", "application/json")
			_ = d.Stats.WriteJSON(w, f)
		case "prometheus":
			prometheusPage(d)(w, r)
		default:
			http.Error(w, "usage: /stats?format=json|prometheus", http.StatusBadRequest)
		}
	}
}

func prometheusPage(d Deps) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_ = d.Stats.WritePrometheus(w)
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
