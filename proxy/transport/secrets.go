package transport

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"culvert/proxy/datasource"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// pollInterval is how often the files are looked at. A change counts when it
// has lasted for one interval: whoever writes a certificate and then its key is
// not caught between the two.
const pollInterval = time.Second

// Secrets keeps the certificates, keys, authorities and revocation lists of the
// transports that were built with it as their files are. When a file changes,
// the transport that names it is compiled again: handshakes from then on use
// the new one, connections that stand are left alone, and sessions of the old
// one are not resumed. A file that is not usable changes nothing but the log.
//
// It belongs to one generation of the configuration, whose transports it never
// forgets. Run does the work. It is safe from any goroutine.
type Secrets struct {
	log *slog.Logger

	mu      sync.Mutex
	watched []*watched
}

// NewSecrets makes an empty set. log may be nil.
func NewSecrets(log *slog.Logger) *Secrets {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Secrets{log: log}
}

// Run re-reads files that change until ctx ends. It returns nil.
func (s *Secrets) Run(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.poll()
		case <-ctx.Done():
			return nil
		}
	}
}

// poll looks at every file once.
func (s *Secrets) poll() {
	for _, w := range s.list() {
		w.look(s.log)
	}
}

func (s *Secrets) list() []*watched {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.watched)
}

// Certificate is one that is in use: shown, or trusted.
type Certificate struct {
	// Place is its file, or how else the configuration gave it.
	Place string
	// Authority: it is trusted, not shown.
	Authority bool
	*x509.Certificate
}

// Certificates lists what is in use now: chains as shown, leaf first, and what
// is trusted. The system's authorities are not among them.
func (s *Secrets) Certificates() []Certificate {
	var out []Certificate
	for _, w := range s.list() {
		out = append(out, w.holds()...)
	}
	return out
}

// DaysUntilFirstExpiry is Envoy's server.days_until_first_cert_expiring: whole
// days until the first certificate in use expires, 0 if one has, and the
// greatest 32-bit number if there is none.
func (s *Secrets) DaysUntilFirstExpiry() int64 {
	days := int64(math.MaxUint32)
	now := time.Now()
	for _, c := range s.Certificates() {
		left := int64(c.NotAfter.Sub(now) / (24 * time.Hour))
		days = min(days, max(left, 0))
	}
	return days
}

// holder is something compiled that has certificates.
type holder interface{ certificates() []Certificate }

// watch compiles with build, and again whenever a file that m names changes.
// What the pointer holds is immutable. Without a Secrets it is compiled once.
func watch[T holder](s *Secrets, m proto.Message, build func() (T, error)) (*atomic.Pointer[T], error) {
	paths := datasource.Paths(m)
	before := fingerprint(paths) // a change while we read shows in the next look
	v, err := build()
	if err != nil {
		return nil, err
	}
	p := new(atomic.Pointer[T])
	p.Store(&v)
	if s == nil {
		return p, nil
	}
	w := &watched{paths: paths, loaded: before, seen: before}
	w.holds = func() []Certificate { return (*p.Load()).certificates() }
	w.reload = func() error {
		v, err := build()
		if err == nil {
			p.Store(&v)
		}
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watched = append(s.watched, w)
	return p, nil
}

// watched is one thing that is compiled from files.
type watched struct {
	// immutable
	paths  []string
	reload func() error
	holds  func() []Certificate

	// owned by the goroutine of Run
	loaded string // how the files were when they were last read, usable or not
	seen   string // how they were at the last look
}

// look re-reads the files if they changed and have since stayed as they are.
// Files that are not usable are not read again until they change again.
func (w *watched) look(log *slog.Logger) {
	now := fingerprint(w.paths)
	if now == w.loaded || now != w.seen {
		w.seen = now
		return
	}
	w.loaded = now
	if err := w.reload(); err != nil {
		log.Error("TLS files have changed and cannot be used; the previous ones stay in use", "files", w.paths, "error", err)
		return
	}
	log.Info("TLS files have changed and are in use", "files", w.paths)
}

// fingerprint tells versions of files apart without reading them. Links are
// followed, so that one that is turned to another file counts.
func fingerprint(paths []string) string {
	var b strings.Builder
	for _, path := range paths {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			fmt.Fprintln(&b, path, err)
			continue
		}
		fmt.Fprintln(&b, st.Dev, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano())
	}
	return b.String()
}
