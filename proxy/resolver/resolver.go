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
	"syscall"
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

// TTLResolver is a Resolver that knows how long its answers are good.
type TTLResolver interface {
	Resolver
	// LookupTTL is Lookup. ttl is how much longer the answer is good by the
	// word of whoever gave it, 0 if nobody said: a literal, /etc/hosts.
	LookupTTL(ctx context.Context, host string, family Family) (addrs []netip.Addr, ttl time.Duration, err error)
}

// Config of New. Zero values are the defaults.
type Config struct {
	// Lookup asks: network is ip, ip4 or ip6. Default: net.Resolver in Go, which
	// reads /etc/hosts and /etc/resolv.conf and ends with its context. Only the
	// default learns TTLs.
	Lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
	// Control is called for each socket of the default Lookup before it is used,
	// as net.Dialer.Control is. May be nil.
	Control     func(network, address string, c syscall.RawConn) error
	Timeout     time.Duration
	TTL         time.Duration // negative: nothing is kept; a record's own TTL may only shorten it
	Concurrency int
	MaxNames    int

	lookup ttlLookup
}

// ttlLookup asks, and says how long the answer is good, 0 if it does not know.
type ttlLookup func(ctx context.Context, network, host string) ([]netip.Addr, time.Duration, error)

func (c Config) withDefaults() Config {
	c.lookup = (&wire{control: c.Control}).lookup
	if given := c.Lookup; given != nil {
		c.lookup = func(ctx context.Context, network, host string) ([]netip.Addr, time.Duration, error) {
			addrs, err := given(ctx, network, host)
			return addrs, 0, err
		}
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
// goroutine of the first who wants to know. It is a TTLResolver.
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
	done chan struct{}
	known
	err error
	// gaveUp: whoever asked went away, which says nothing about the name.
	gaveUp bool
}

type known struct {
	addrs []netip.Addr
	until time.Time // it is kept
	good  time.Time // the TTL's end; zero if nobody said
}

// answer is a copy for a caller.
func (k known) answer() ([]netip.Addr, time.Duration) {
	addrs := slices.Clone(k.addrs)
	if k.good.IsZero() {
		return addrs, 0
	}
	return addrs, max(time.Until(k.good), 1)
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
	addrs, _, err := s.LookupTTL(ctx, host, family)
	return addrs, err
}

// LookupTTL implements TTLResolver.
func (s *system) LookupTTL(ctx context.Context, host string, family Family) ([]netip.Addr, time.Duration, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		addrs, err := s.literal(ip, host, family)
		return addrs, 0, err
	}
	q := question{canonical(host), family}
	for {
		kept, a, ours := s.begin(q)
		switch {
		case a == nil:
			addrs, ttl := kept.answer()
			return addrs, ttl, nil
		case ours:
			s.ask(ctx, q, a)
			addrs, ttl := a.answer()
			return addrs, ttl, a.err
		}
		select {
		case <-ctx.Done():
			return nil, 0, fmt.Errorf("resolve %q: %w", host, context.Cause(ctx))
		case <-a.done:
			if !a.gaveUp {
				addrs, ttl := a.answer()
				return addrs, ttl, a.err
			}
		}
	}
}

// canonical is a name as it is asked for and remembered. localhost is not a name
// for DNS (RFC 6761 §6.3), and the system knows it without its final dot.
func canonical(host string) string {
	host = strings.ToLower(host)
	if host == "localhost." {
		return "localhost"
	}
	return host
}

func (s *system) literal(ip netip.Addr, host string, family Family) ([]netip.Addr, error) {
	if addrs := family.pick([]netip.Addr{ip}); len(addrs) > 0 {
		return addrs, nil
	}
	return nil, notFound(host, "address is not of family "+family.String())
}

// begin returns the question that is being asked, or a new one that is ours to
// ask, or, where a is nil, a kept answer.
func (s *system) begin(q question) (kept known, a *answer, ours bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k, ok := s.known[q]; ok && time.Now().Before(k.until) {
		return k, nil, false
	}
	if a, ok := s.asking[q]; ok {
		return known{}, a, false
	}
	a = &answer{done: make(chan struct{})}
	s.asking[q] = a
	return known{}, a, true
}

// ask fills a and tells whoever waits for it.
func (s *system) ask(ctx context.Context, q question, a *answer) {
	var ttl time.Duration
	a.addrs, ttl, a.err = s.query(ctx, q)
	now := time.Now()
	a.until = now.Add(s.config.TTL)
	if ttl > 0 {
		a.good = now.Add(ttl)
		a.until = now.Add(min(ttl, s.config.TTL))
	}
	a.gaveUp = a.err != nil && ctx.Err() != nil
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.asking, q)
	if a.err == nil && s.config.TTL > 0 {
		s.keepLocked(q, a.known)
	}
	close(a.done)
}

func (s *system) query(ctx context.Context, q question) ([]netip.Addr, time.Duration, error) {
	limited, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-limited.Done():
		return nil, 0, s.failure(ctx, q, limited.Err())
	}
	found, ttl, err := s.config.lookup(limited, q.family.network(), q.host)
	if err != nil {
		return nil, 0, s.failure(ctx, q, err)
	}
	addrs := q.family.pick(found)
	if len(addrs) == 0 {
		return nil, 0, notFound(q.host, "no address of family "+q.family.String())
	}
	return addrs, ttl, nil
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
func (s *system) keepLocked(q question, answer known) {
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
	s.known[q] = answer
}
