package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sort"
	"strings"
	"time"
)

// Deps is what the pages show.
type Deps struct {
	// State is the life-cycle state: LIVE, DRAINING, INITIALIZING.
	State func() string
	Stats StatsStore
	// Listeners are those of the running configuration.
	Listeners func() []ListenerStatus
	Flows     FlowSource
	Log       *slog.Logger
}

// timeouts of an admin connection: it serves people and scrapers, never bulk.
const (
	readHeaderTimeout = 10 * time.Second
	writeTimeout      = time.Minute
	idleTimeout       = time.Minute
	shutdownTimeout   = 2 * time.Second
	maxHeaderBytes    = 16 << 10
)

// page is one admin endpoint.
type page struct {
	path, help string
	serve      http.HandlerFunc
}

// Server serves the admin pages.
type Server struct {
	pages map[string]page
	log   *slog.Logger
}

// New makes a server; it starts nothing.
func New(d Deps) *Server {
	s := &Server{pages: make(map[string]page), log: d.Log}
	for _, p := range []page{
		{"/ready", "print server state, return 200 if LIVE, otherwise return 503", readyPage(d)},
		{"/stats", "print server stats", statsPage(d)},
		{"/stats/prometheus", "print server stats in prometheus format", prometheusPage(d)},
		{"/listeners", "print listener info", listenersPage(d)},
		{"/flows", "print live and recently ended flows", flowsPage(d)},
	} {
		s.pages[p.path] = p
	}
	s.pages["/help"] = page{"/help", "print out list of admin commands", s.help}
	s.pages["/"] = page{"/", "print out list of admin commands", s.help}
	return s
}

// CheckAddress refuses an address that others than this host can reach: the
// pages show who talks to whom.
func CheckAddress(a net.Addr) error {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || tcp.AddrPort().Addr().Unmap().IsLoopback() {
		return nil
	}
	return fmt.Errorf("admin address %v can be reached from other hosts: use 127.0.0.1, ::1 or a unix socket", a)
}

// Serve answers on ln until ctx ends; it closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: readHeaderTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if srv.Shutdown(bounded) != nil {
			_ = srv.Close() // a slow reader of a page does not keep culvert alive
		}
	})
	err := srv.Serve(ln)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-cache, max-age=0")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	if !localHost(r.Host) {
		http.Error(w, "host "+r.Host+" is not this admin's: use its IP address or localhost", http.StatusForbidden)
		return
	}
	p, ok := s.pages[r.URL.Path]
	switch {
	case !ok:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintln(w, "invalid path. admin commands are:")
		s.list(w)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET")
		http.Error(w, "Method "+r.Method+" not allowed, GET required.", http.StatusMethodNotAllowed)
	default:
		p.serve(w, r)
	}
}

// localHost keeps a web page elsewhere from reading the admin through a name
// that it points at this host (DNS rebinding).
func localHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.Trim(name, "[]")
	if name == "" || strings.EqualFold(name, "localhost") {
		return true
	}
	_, err := netip.ParseAddr(name)
	return err == nil
}

func (s *Server) help(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, "admin commands are:")
	s.list(w)
}

func (s *Server) list(w http.ResponseWriter) {
	paths := make([]string, 0, len(s.pages))
	for p := range s.pages {
		paths = append(paths, p)
	}
	sort.Strings(paths)
	for _, p := range paths {
		fmt.Fprintf(w, "  %s: %s\n", p, s.pages[p].help)
	}
}
