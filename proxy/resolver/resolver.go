package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Defaults of Config.
const (
	// DefaultTimeout bounds one question, as Envoy's dns_query_timeout.
	DefaultTimeout = 5 * time.Second
	// DefaultTTL is how long an answer is good, as Envoy's dns_refresh_rate:
	// the system's resolver does not say what the record's TTL was.
	DefaultTTL = 5 * time.Second
	// DefaultConcurrency is how many questions are open at once.
	DefaultConcurrency = 64
	// DefaultMaxNames is how many answers are kept, as Envoy's max_hosts.
	DefaultMaxNames = 1024
)

// Resolver finds the addresses of a host. An error has a *net.DNSError in its
// chain, unless ctx ended first.
type Resolver interface {
	// Lookup returns at least one address, or an error. A literal address is
	// its own answer. The caller may change the slice.
	Lookup(ctx context.Context, host string, family Family) ([]netip.Addr, error)
}

// Config of New. Zero values are the defaults.
type Config struct {
	// Lookup asks: network is ip, ip4 or ip6. Default: net.Resolver in Go, which
	// reads /etc/hosts and /etc/resolv.conf and ends with its context.
	Lookup      func(ctx context.Context, network, host string) ([]netip.Addr, error)
	Timeout     time.Duration
	TTL         time.Duration // negative: nothing is kept
	Concurrency int
	MaxNames    int
}

func (c Config) withDefaults() Config {
	if c.Lookup == nil {
		c.Lookup = (&net.Resolver{PreferGo: true}).LookupNetIP
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.TTL == 0 {
		c.TTL = DefaultTTL
	}
	if c.Concurrency == 0 {
		c.Concurrency = DefaultConcurrency
	}
	if c.MaxNames == 0 {
		c.MaxNames = DefaultMaxNames
	}
	return c
}

// New makes a Resolver. It starts nothing: each question is asked on the
// goroutine of the first who wants to know.
func New(c Config) Resolver {
	c = c.withDefaults()
	return &system{
		config: c,
		slots:  make(chan struct{}, c.Concurrency),
		asking: make(map[question]*answer),
		known:  make(map[question]known),
	}
}

type question struct {
	host   string
	family Family
}

// answer is a question being asked; done is closed when the rest is set.
type answer struct {
	done  chan struct{}
	addrs []netip.Addr
	err   error
	// gaveUp: whoever asked went away, which says nothing about the name.
	gaveUp bool
}

type known struct {
	addrs []netip.Addr
	until time.Time
}

type system struct {
	// immutable
	config Config
	slots  chan struct{} // one element for each open question

	mu     sync.Mutex
	asking map[question]*answer
	known  map[question]known
}

func (s *system) Lookup(ctx context.Context, host string, family Family) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return s.literal(ip, host, family)
	}
	q := question{strings.ToLower(host), family}
	for {
		addrs, a, ours := s.begin(q)
		switch {
		case addrs != nil:
			return addrs, nil
		case ours:
			s.ask(ctx, q, a)
			return slices.Clone(a.addrs), a.err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("resolve %q: %w", host, context.Cause(ctx))
		case <-a.done:
			if !a.gaveUp {
				return slices.Clone(a.addrs), a.err
			}
		}
	}
}

func (s *system) literal(ip netip.Addr, host string, family Family) ([]netip.Addr, error) {
	if addrs := family.pick([]netip.Addr{ip}); len(addrs) > 0 {
		return addrs, nil
	}
	return nil, notFound(host, "address is not of family "+family.String())
}

// begin returns a kept answer, or the question that is being asked, or a new
// one that is ours to ask.
func (s *system) begin(q question) (addrs []netip.Addr, a *answer, ours bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k, ok := s.known[q]; ok && time.Now().Before(k.until) {
		return slices.Clone(k.addrs), nil, false
	}
	if a, ok := s.asking[q]; ok {
		return nil, a, false
	}
	a = &answer{done: make(chan struct{})}
	s.asking[q] = a
	return nil, a, true
}

// ask fills a and tells whoever waits for it.
func (s *system) ask(ctx context.Context, q question, a *answer) {
	a.addrs, a.err = s.query(ctx, q)
	a.gaveUp = a.err != nil && ctx.Err() != nil
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.asking, q)
	if a.err == nil && s.config.TTL > 0 {
		s.keepLocked(q, a.addrs)
	}
	close(a.done)
}

func (s *system) query(ctx context.Context, q question) ([]netip.Addr, error) {
	limited, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-limited.Done():
		return nil, s.failure(ctx, q, limited.Err())
	}
	found, err := s.config.Lookup(limited, q.family.network(), q.host)
	if err != nil {
		return nil, s.failure(ctx, q, err)
	}
	addrs := q.family.pick(found)
	if len(addrs) == 0 {
		return nil, notFound(q.host, "no address of family "+q.family.String())
	}
	return addrs, nil
}

// failure is err as a *net.DNSError, or the cause of ctx if that has ended: who
// went away learns nothing about the name.
func (s *system) failure(ctx context.Context, q question, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("resolve %q: %w", q.host, context.Cause(ctx))
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return fmt.Errorf("resolve: %w", err)
	}
	timeout := errors.Is(err, context.DeadlineExceeded)
	return fmt.Errorf("resolve: %w", &net.DNSError{
		UnwrapErr: err, Err: err.Error(), Name: q.host, IsTimeout: timeout, IsTemporary: timeout,
	})
}

func notFound(host, why string) error {
	return fmt.Errorf("resolve: %w", &net.DNSError{Err: why, Name: host, IsNotFound: true})
}

// keepLocked remembers an answer. A full cache first loses what is stale, then
// whatever comes first.
func (s *system) keepLocked(q question, addrs []netip.Addr) {
	now := time.Now()
	if len(s.known) >= s.config.MaxNames {
		for old, k := range s.known {
			if !now.Before(k.until) {
				delete(s.known, old)
			}
		}
	}
	for old := range s.known {
		if len(s.known) < s.config.MaxNames {
			break
		}
		delete(s.known, old)
	}
	s.known[q] = known{slices.Clone(addrs), now.Add(s.config.TTL)}
}
