package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"culvert/proxy/cluster"
	"culvert/proxy/transport"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
)

// Deps is what the pages show and what the switches do.
type Deps struct {
	// State is the life-cycle state: LIVE, DRAINING, INITIALIZING. It is
	// DRAINING too while the health check is failed.
	State func() string
	Stats StatsStore
	// Listeners are those of the running configuration.
	Listeners func() []ListenerStatus
	// Clusters are those of the running configuration.
	Clusters func() []cluster.Status
	// Certificates are what the running configuration shows and trusts.
	Certificates func() []transport.Certificate
	// Config is the running configuration and when it came.
	Config  func() (*bootstrapv3.Bootstrap, time.Time)
	Process Process
	Flows   FlowSource
	Control Control
	// Level is the log's; nil if it cannot be changed.
	Level *slog.LevelVar
	// Paths are what the running configuration allows; nil: all.
	Paths func() *Paths
	Log   *slog.Logger
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
	changes    bool // something, and is asked for by POST only
}

// method is how the page is asked for.
func (p page) method() string {
	if p.changes {
		return http.MethodPost
	}
	return http.MethodGet
}

// Server serves the admin pages.
type Server struct {
	pages map[string]page
	paths func() *Paths
	cross *http.CrossOriginProtection
	log   *slog.Logger
}

// New makes a server; it starts nothing.
func New(d Deps) *Server {
	s := &Server{pages: make(map[string]page), paths: d.Paths, cross: http.NewCrossOriginProtection(), log: d.Log}
	for _, p := range append(views(d), switches(d)...) {
		s.pages[p.path] = p
	}
	s.pages["/help"] = page{path: "/help", help: "print out list of admin commands", serve: s.help}
	s.pages["/"] = page{path: "/", help: "Admin home page", serve: s.home}
	return s
}

func views(d Deps) []page {
	return []page{
		{path: "/ready", help: "print server state, return 200 if LIVE, otherwise return 503", serve: readyPage(d)},
		{path: "/stats", help: "print server stats", serve: statsPage(d)},
		{path: "/stats/prometheus", help: "print server stats in prometheus format", serve: prometheusPage(d)},
		{path: "/listeners", help: "print listener info", serve: listenersPage(d)},
		{path: "/clusters", help: "upstream cluster status", serve: clustersPage(d)},
		{path: "/config_dump", help: "dump current configuration, without secrets", serve: configDumpPage(d)},
		{path: "/certs", help: "print certs on machine", serve: certsPage(d)},
		{path: "/server_info", help: "print server version/status information", serve: serverInfoPage(d)},
		{path: "/memory", help: "print current allocation/heap usage", serve: memoryPage},
		{path: "/flows", help: "print live and recently ended flows", serve: flowsPage(d)},
	}
}

func switches(d Deps) []page {
	return []page{
		{changes: true, path: "/healthcheck/fail", help: "cause the server to fail health checks", serve: failPage(d)},
		{changes: true, path: "/healthcheck/ok", help: "cause the server to pass health checks", serve: passPage(d)},
		{changes: true, path: "/drain_listeners", help: "drain listeners", serve: drainPage(d)},
		{changes: true, path: "/logging", help: "query/change logging levels", serve: loggingPage(d)},
		{changes: true, path: "/quitquitquit", help: "exit the server", serve: quitPage(d)},
		{changes: true, path: "/reset_counters", help: "reset all counters to zero", serve: resetPage(d)},
		{changes: true, path: "/reopen_logs", help: "reopen access logs", serve: reopenPage(d)},
	}
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
	if err := s.cross.Check(r); err != nil {
		http.Error(w, "another site's page asks for this: "+err.Error(), http.StatusForbidden)
		return
	}
	if s.paths != nil && !s.paths().Allow(r.URL.Path) {
		http.Error(w, "request to path "+r.URL.Path+" not allowed", http.StatusForbidden)
		return
	}
	p, ok := s.pages[r.URL.Path]
	switch {
	case !ok:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintln(w, "invalid path. admin commands are:")
		s.list(w)
	case r.Method == p.method(), r.Method == http.MethodHead && !p.changes:
		p.serve(w, r)
	default:
		h.Set("Allow", p.method())
		http.Error(w, "Method "+r.Method+" not allowed, "+p.method()+" required.", http.StatusMethodNotAllowed)
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
