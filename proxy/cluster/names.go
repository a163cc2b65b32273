package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"culvert/proxy/network"
	"culvert/proxy/resolver"
)

// nameSettings are how a cluster resolves.
type nameSettings struct {
	family resolver.Family
	// refresh is how long an answer is good where its TTL does not count, or is
	// not known; useTTL says that it counts, but no less than minRefresh.
	refresh, minRefresh time.Duration
	useTTL              bool
	// failureBase is how long a failure is believed, doubled with each until
	// failureMax.
	failureBase, failureMax time.Duration
	timeout                 time.Duration         // of a question; 0: the resolver's own
	unused                  time.Duration         // how long a name nobody asks for is kept; 0: for ever
	max                     int                   // names; 0: no bound
	keep                    func(netip.Addr) bool // answers that count; nil: all
}

// nameCounts are counted as the cache works; any may be nil.
type nameCounts struct {
	attempt, success, failure, timeout, changed, added, removed, overflow counted
	names                                                                 gauged
}

type counted interface{ Inc() }
type gauged interface{ Set(int64) }

func inc(c counted) {
	if c != nil {
		c.Inc()
	}
}

// nameCache resolves names when they are needed and remembers. An answer that
// is out of date is used once more while a new one is fetched; one that is long
// out of date is not, unless there is no other: what worked stays good while
// there is nothing newer.
type nameCache struct {
	// immutable
	resolver resolver.Resolver
	set      nameSettings
	n        nameCounts
	spawn    func(func(context.Context)) // runs it on a goroutine that ends with its context

	mu    sync.Mutex
	known map[string]*knownName // guarded by mu
}

// knownName is guarded by nameCache.mu.
type knownName struct {
	addrs    []netip.Addr
	err      error     // why there are no newer ones
	due      time.Time // another is fetched from then on
	useless  time.Time // the answer is not used any longer from then on
	failures int       // in a row
	used     time.Time
	fetching bool
}

func newNameCache(r resolver.Resolver, s nameSettings, n nameCounts, spawn func(func(context.Context))) *nameCache {
	return &nameCache{resolver: r, set: s, n: n, spawn: spawn, known: make(map[string]*knownName)}
}

// errTooManyNames refuses a name: max_hosts are known, all of them in use.
var errTooManyNames = network.WithReason(network.ReasonOverflow, errors.New("too many names"))

// lookup finds the addresses of a name, at least one. The caller must not
// change them.
func (c *nameCache) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	c.mu.Lock()
	k, err := c.entryLocked(name)
	if err != nil {
		c.mu.Unlock()
		return nil, err
	}
	now := time.Now()
	k.used = now
	switch {
	case now.Before(k.due):
		defer c.mu.Unlock()
		return k.addrs, k.failedLocked()
	case len(k.addrs) > 0 && now.Before(k.useless):
		defer c.mu.Unlock()
		if !k.fetching {
			k.fetching = true
			c.spawn(func(ctx context.Context) { _, _ = c.fetch(ctx, name, k) })
		}
		return k.addrs, nil
	}
	c.mu.Unlock()
	return c.fetch(ctx, name, k)
}

// failedLocked is the error of a name without addresses.
func (k *knownName) failedLocked() error {
	if len(k.addrs) > 0 {
		return nil
	}
	return k.err
}

// entryLocked finds or makes room for a name.
func (c *nameCache) entryLocked(name string) (*knownName, error) {
	if k := c.known[name]; k != nil {
		return k, nil
	}
	c.sweepLocked()
	if c.set.max > 0 && len(c.known) >= c.set.max {
		inc(c.n.overflow)
		return nil, errTooManyNames
	}
	k := new(knownName)
	c.known[name] = k
	inc(c.n.added)
	c.countLocked()
	return k, nil
}

// sweepLocked forgets what nobody has asked for in its time.
func (c *nameCache) sweepLocked() {
	if c.set.unused <= 0 {
		return
	}
	now := time.Now()
	for name, k := range c.known {
		if now.Sub(k.used) >= c.set.unused {
			delete(c.known, name)
			inc(c.n.removed)
		}
	}
	c.countLocked()
}

func (c *nameCache) countLocked() {
	if c.n.names != nil {
		c.n.names.Set(int64(len(c.known)))
	}
}

// fetch asks for a name. Questions at once are the resolver's to join.
func (c *nameCache) fetch(ctx context.Context, name string, k *knownName) ([]netip.Addr, error) {
	inc(c.n.attempt)
	addrs, ttl, err := c.ask(ctx, name)
	c.mu.Lock()
	defer c.mu.Unlock()
	k.fetching = false
	if err != nil {
		if ctx.Err() == nil {
			c.failLocked(k, err)
		}
		if len(k.addrs) > 0 && ctx.Err() == nil {
			return k.addrs, nil
		}
		return nil, err
	}
	inc(c.n.success)
	if !sameAddrs(k.addrs, addrs) {
		inc(c.n.changed)
		k.addrs = addrs
	}
	k.err, k.failures = nil, 0
	good := c.set.refresh
	if c.set.useTTL && ttl > 0 {
		good = max(ttl, c.set.minRefresh)
	}
	k.due = time.Now().Add(good)
	k.useless = k.due.Add(good)
	return k.addrs, nil
}

// failLocked keeps the addresses there are and puts off the next question.
func (c *nameCache) failLocked(k *knownName, err error) {
	inc(c.n.failure)
	if errors.Is(err, errDNSTimeout) {
		inc(c.n.timeout)
	}
	wait := c.set.failureBase
	for range k.failures {
		if wait *= 2; wait >= c.set.failureMax {
			wait = c.set.failureMax
			break
		}
	}
	k.err, k.failures = err, k.failures+1
	k.due = time.Now().Add(wait)
	k.useless = k.due
}

// errDNSTimeout is the cause of a context that dns_query_timeout ended.
var errDNSTimeout = network.WithReason(network.ReasonDNS, errors.New("dns query timeout"))

func (c *nameCache) ask(ctx context.Context, name string) (addrs []netip.Addr, ttl time.Duration, err error) {
	within := ctx
	if c.set.timeout > 0 {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeoutCause(ctx, c.set.timeout, errDNSTimeout)
		defer cancel()
	}
	if r, ok := c.resolver.(resolver.TTLResolver); ok {
		addrs, ttl, err = r.LookupTTL(within, name, c.set.family)
	} else {
		addrs, err = c.resolver.Lookup(within, name, c.set.family)
	}
	switch {
	case err != nil && ctx.Err() == nil && within.Err() != nil:
		return nil, 0, fmt.Errorf("resolve %q: %w", name, context.Cause(within))
	case err != nil || c.set.keep == nil:
		return addrs, ttl, err
	}
	kept := addrs[:0]
	for _, a := range addrs {
		if c.set.keep(a) {
			kept = append(kept, a)
		}
	}
	if len(kept) == 0 {
		return nil, 0, network.WithReason(network.ReasonProhibited, fmt.Errorf("resolve %q: every address is filtered", name))
	}
	return kept, ttl, nil
}

func sameAddrs(a, b []netip.Addr) bool {
	if len(a) != len(b) {
		return false
	}
	have := make(map[netip.Addr]bool, len(a))
	for _, x := range a {
		have[x] = true
	}
	for _, x := range b {
		if !have[x] {
			return false
		}
	}
	return true
}
