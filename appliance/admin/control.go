package admin

import (
	"fmt"
	"net/http"
)

// Control is what the switches do. Its methods return at once.
type Control interface {
	// SetHealthCheck makes /ready say DRAINING, or the truth again.
	SetHealthCheck(ok bool)
	DrainListeners(Drain)
	// Quit drains and ends the process, as SIGTERM does.
	Quit()
	// ReopenLogs opens the files of the access logs anew.
	ReopenLogs() error
	ResetCounters()
}

// Drain is how listeners are to be drained.
type Drain struct {
	// InboundOnly: those whose traffic_direction is INBOUND.
	InboundOnly bool
	// Graceful: connections are told first, and the sockets are closed after
	// the drain time.
	Graceful bool
	// SkipExit: with Graceful, the sockets are not closed after all.
	SkipExit bool
}

func done(w http.ResponseWriter) { fmt.Fprintln(w, "OK") }

func failPage(d Deps) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { d.Control.SetHealthCheck(false); done(w) }
}

func passPage(d Deps) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { d.Control.SetHealthCheck(true); done(w) }
}

func drainPage(d Deps) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		how := Drain{InboundOnly: q.Has("inboundonly"), Graceful: q.Has("graceful"), SkipExit: q.Has("skip_exit")}
		if how.SkipExit && !how.Graceful {
			http.Error(w, "skip_exit requires graceful", http.StatusBadRequest)
			return
		}
		d.Control.DrainListeners(how)
		done(w)
	}
}

func quitPage(d Deps) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { d.Control.Quit(); done(w) }
}

func resetPage(d Deps) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { d.Control.ResetCounters(); done(w) }
}

func reopenPage(d Deps) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := d.Control.ReopenLogs(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		done(w)
	}
}
