package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/network"
	"culvert/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func addrs(s ...string) []netip.Addr {
	var out []netip.Addr
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// fake answers from a table, and counts.
type fake struct {
	answers map[string][]netip.Addr
	err     error
	wait    time.Duration
	asked   atomic.Int32
	open    atomic.Int32
	most    atomic.Int32
}

func (f *fake) lookup(ctx context.Context, network, host string) ([]netip.Addr, error) {
	f.asked.Add(1)
	f.most.Store(max(f.most.Load(), f.open.Add(1)))
	defer f.open.Add(-1)
	if f.wait > 0 {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(f.wait):
		}
	}
	if f.err != nil {
		return nil, f.err
	}
	return slices.Clone(f.answers[host]), nil
}

func TestFamilies(t *testing.T) {
	both := addrs("192.0.2.1", "2001:db8::1", "::ffff:192.0.2.2", "192.0.2.1")
	v4, v6 := addrs("192.0.2.1", "192.0.2.2"), addrs("2001:db8::1")
	for _, c := range []struct {
		family Family
		have   []netip.Addr
		want   []netip.Addr
	}{
		{Auto, both, v6}, {Auto, v4, v4}, {Auto, v6, v6},
		{V4Only, both, v4}, {V4Only, v6, nil},
		{V6Only, both, v6}, {V6Only, v4, nil},
		{V4Preferred, both, v4}, {V4Preferred, v6, v6},
		{All, both, addrs("192.0.2.1", "2001:db8::1", "192.0.2.2")}, {All, nil, nil},
	} {
		r := New(Config{Lookup: (&fake{answers: map[string][]netip.Addr{"a.test": c.have}}).lookup})
		got, err := r.Lookup(t.Context(), "A.test", c.family)
		if !slices.Equal(got, c.want) {
			t.Errorf("%v of %v: %v, want %v", c.family, c.have, got, c.want)
		}
		if len(c.want) == 0 && network.ReasonFor(err) != network.ReasonDNS {
			t.Errorf("%v of %v: error %v", c.family, c.have, err)
		}
	}
}

func TestLiterals(t *testing.T) {
	f := &fake{}
	r := New(Config{Lookup: f.lookup})
	for _, c := range []struct {
		host   string
		family Family
		ok     bool
	}{
		{"192.0.2.1", Auto, true}, {"192.0.2.1", V6Only, false}, {"2001:db8::1", All, true},
		{"2001:db8::1", V4Only, false}, {"::ffff:192.0.2.1", V4Only, true}, {"2001:db8::1", V4Preferred, true},
	} {
		got, err := r.Lookup(t.Context(), c.host, c.family)
		if (err == nil) != c.ok || len(got) != 1 == c.ok {
			t.Errorf("%s, %v: %v, %v", c.host, c.family, got, err)
		}
	}
	if f.asked.Load() != 0 {
		t.Error("a literal was asked for")
	}
}

func TestErrorsAreDNSErrors(t *testing.T) {
	cause := errors.New("out of luck")
	for _, f := range []*fake{
		{err: &net.DNSError{Err: "no such host", Name: "a.test", IsNotFound: true}},
		{err: cause},
		{}, // an empty answer
	} {
		_, err := New(Config{Lookup: f.lookup}).Lookup(t.Context(), "a.test", Auto)
		var dns *net.DNSError
		if !errors.As(err, &dns) || dns.Name != "a.test" || network.ReasonFor(err) != network.ReasonDNS {
			t.Errorf("%v", err)
		}
		if f.err == cause && !errors.Is(err, cause) {
			t.Errorf("%v hides its cause", err)
		}
	}
}

func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answers: map[string][]netip.Addr{"a.test": addrs("192.0.2.1")}}
		r := New(Config{Lookup: f.lookup})
		ask := func(want int32) {
			t.Helper()
			got, err := r.Lookup(t.Context(), "a.test", Auto)
			if err != nil || f.asked.Load() != want {
				t.Fatalf("%v; asked %d times, want %d", err, f.asked.Load(), want)
			}
			got[0] = netip.Addr{} // ours to change
		}
		ask(1)
		time.Sleep(DefaultTTL - 1)
		ask(1)
		time.Sleep(1)
		ask(2)
		if got, _ := r.Lookup(t.Context(), "a.test", Auto); !got[0].IsValid() {
			t.Error("a caller changed the cache")
		}
		f.err = errors.New("no")
		time.Sleep(DefaultTTL)
		for range 2 { // failures are not kept
			if _, err := r.Lookup(t.Context(), "a.test", Auto); err == nil {
				t.Error("no error")
			}
		}
		if f.asked.Load() != 4 {
			t.Errorf("asked %d times", f.asked.Load())
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	f := &fake{answers: map[string][]netip.Addr{}}
	r := New(Config{Lookup: f.lookup, MaxNames: 8}).(*system)
	for i := range 100 {
		name := fmt.Sprintf("n%d.test", i)
		f.answers[name] = addrs("192.0.2.1")
		if _, err := r.Lookup(t.Context(), name, Auto); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.known) != 8 || len(r.asking) != 0 {
		t.Errorf("%d answers and %d questions kept", len(r.known), len(r.asking))
	}
}

func TestOneQuestionAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answers: map[string][]netip.Addr{"a.test": addrs("192.0.2.1")}, wait: time.Second}
		r := New(Config{Lookup: f.lookup})
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := r.Lookup(t.Context(), "a.test", Auto); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if f.asked.Load() != 1 {
			t.Errorf("asked %d times", f.asked.Load())
		}
	})
}

// Whoever asks first may go away: the others ask again and get their answer.
func TestFirstAskerGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answers: map[string][]netip.Addr{"a.test": addrs("192.0.2.1")}, wait: time.Second}
		r := New(Config{Lookup: f.lookup})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := r.Lookup(ctx, "a.test", Auto); network.ReasonFor(err) != network.ReasonCanceled {
				t.Errorf("first: %v", err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if _, err := r.Lookup(t.Context(), "a.test", Auto); err != nil {
				t.Errorf("second: %v", err)
			}
		})
		time.Sleep(time.Millisecond)
		cancel()
		wg.Wait()
		if f.asked.Load() != 2 {
			t.Errorf("asked %d times", f.asked.Load())
		}
	})
}

// A follower's own context ends its wait.
func TestFollowerGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answers: map[string][]netip.Addr{"a.test": addrs("192.0.2.1")}, wait: time.Second}
		r := New(Config{Lookup: f.lookup})
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = r.Lookup(t.Context(), "a.test", Auto) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := r.Lookup(ctx, "a.test", Auto); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		wg.Wait()
	})
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{wait: time.Hour}
		start := time.Now()
		_, err := New(Config{Lookup: f.lookup}).Lookup(t.Context(), "a.test", Auto)
		var dns *net.DNSError
		if !errors.As(err, &dns) || !dns.IsTimeout || network.ReasonFor(err) != network.ReasonDNS {
			t.Errorf("%v", err)
		}
		if time.Since(start) != DefaultTimeout {
			t.Errorf("after %v", time.Since(start))
		}
	})
}

func TestConcurrencyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{wait: time.Second, answers: map[string][]netip.Addr{}}
		r := New(Config{Lookup: f.lookup, Concurrency: 3, Timeout: time.Minute})
		var wg sync.WaitGroup
		for i := range 12 {
			name := fmt.Sprintf("n%d.test", i)
			f.answers[name] = addrs("192.0.2.1")
		}
		for name := range f.answers {
			wg.Go(func() {
				if _, err := r.Lookup(t.Context(), name, Auto); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if f.most.Load() != 3 {
			t.Errorf("%d questions at once", f.most.Load())
		}
	})
}

// The system's resolver knows localhost without asking anyone.
func TestSystemResolver(t *testing.T) {
	for _, name := range []string{"localhost", "LOCALHOST."} {
		got, err := New(Config{}).Lookup(t.Context(), name, V4Only)
		if err != nil || !slices.Contains(got, netip.MustParseAddr("127.0.0.1")) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
