package cluster

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/network"
	"culvert/proxy/resolver"
	"culvert/proxy/stats"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// timedZone is a zone whose answers have a TTL, and which takes its time.
type timedZone struct {
	zone
	ttl, wait time.Duration
	asked     int
}

func (z *timedZone) LookupTTL(ctx context.Context, host string, f resolver.Family) ([]netip.Addr, time.Duration, error) {
	z.mu.Lock()
	z.asked++
	z.mu.Unlock()
	select {
	case <-time.After(z.wait):
	case <-ctx.Done():
		return nil, 0, context.Cause(ctx)
	}
	addrs, err := z.Lookup(ctx, host, f)
	return addrs, z.ttl, err
}

func newTestNames(t *testing.T, z resolver.Resolver, s nameSettings, n nameCounts) *nameCache {
	c := start(t, static1("192.0.2.1:1"), nil) // for its goroutines
	return newNameCache(z, s, n, c.spawn)
}

func TestNamesAreRefreshed(t *testing.T) {
	for _, tt := range []struct {
		name     string
		settings nameSettings
		ttl      time.Duration
		good     time.Duration
	}{
		{"the rate", nameSettings{refresh: 10 * second}, time.Hour, 10 * second},
		{"the TTL", nameSettings{refresh: 10 * second, useTTL: true}, 30 * second, 30 * second},
		{"the TTL, at least", nameSettings{refresh: 10 * second, useTTL: true, minRefresh: 20 * second}, second, 20 * second},
		{"no TTL", nameSettings{refresh: 10 * second, useTTL: true}, 0, 10 * second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				z := &timedZone{ttl: tt.ttl, wait: second}
				z.names = map[string][]string{"a": {"192.0.2.1"}}
				c := newTestNames(t, z, tt.settings, nameCounts{})
				ask := func(want string, waited time.Duration, asked int) {
					t.Helper()
					began := time.Now()
					addrs, err := c.lookup(t.Context(), "a")
					if err != nil || addrs[0].String() != want || time.Since(began) != waited || z.asked != asked {
						t.Fatalf("%v, %v after %v, asked %d times; want %s after %v, asked %d times", addrs, err, time.Since(began), z.asked, want, waited, asked)
					}
				}
				ask("192.0.2.1", second, 1)
				z.set("a", "192.0.2.2")
				time.Sleep(tt.good - 1)
				ask("192.0.2.1", 0, 1)
				time.Sleep(1) // out of date: used once more, while another is fetched
				c.lookup(t.Context(), "a")
				synctest.Wait()
				ask("192.0.2.1", 0, 2)
				time.Sleep(second)
				synctest.Wait()
				ask("192.0.2.2", 0, 2)
				time.Sleep(2 * tt.good) // long out of date
				z.set("a", "192.0.2.3")
				ask("192.0.2.3", second, 3)
			})
		})
	}
}

// What worked stays good while there is nothing newer, and failures are
// believed for longer and longer.
func TestNamesFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &timedZone{}
		z.names = make(map[string][]string)
		c := newTestNames(t, z, nameSettings{refresh: second, failureBase: 2 * second, failureMax: 5 * second}, nameCounts{})
		for i, wait := range []time.Duration{0, 2 * second, 4 * second, 5 * second, 5 * second} {
			if wait > 0 {
				time.Sleep(wait - 1)
				if _, err := c.lookup(t.Context(), "a"); err == nil || z.asked != i {
					t.Fatalf("failure %d is not believed for %v: asked %d times", i, wait, z.asked)
				}
				time.Sleep(1)
			}
			if _, err := c.lookup(t.Context(), "a"); network.ReasonFor(err) != network.ReasonDNS || z.asked != i+1 {
				t.Fatalf("failure %d: %v, asked %d times", i, err, z.asked)
			}
		}
		z.set("a", "192.0.2.1")
		time.Sleep(time.Minute)
		if _, err := c.lookup(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		z.set("a")
		time.Sleep(time.Hour)
		if addrs, err := c.lookup(t.Context(), "a"); err != nil || len(addrs) != 1 {
			t.Errorf("the last answer is lost: %v", err)
		}
	})
}

func TestNamesBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &timedZone{}
		z.names = map[string][]string{"a": {"192.0.2.1"}, "b": {"192.0.2.1"}, "c": {"192.0.2.1"}}
		s := stats.NewStore().Scope("x.")
		c := newTestNames(t, z, nameSettings{refresh: second, max: 2, unused: time.Minute}, nameCounts{
			added: s.Counter("added"), removed: s.Counter("removed"), overflow: s.Counter("overflow"), names: s.Gauge("names"),
		})
		for _, name := range []string{"a", "b"} {
			if _, err := c.lookup(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.lookup(t.Context(), "c"); network.ReasonFor(err) != network.ReasonOverflow {
			t.Errorf("a third: %v", err)
		}
		time.Sleep(time.Minute)
		if _, err := c.lookup(t.Context(), "c"); err != nil {
			t.Errorf("in the place of those nobody wants: %v", err)
		}
		if s.Counter("added").Value() != 3 || s.Counter("removed").Value() != 2 || s.Counter("overflow").Value() != 1 || s.Gauge("names").Value() != 1 {
			t.Errorf("added %d, removed %d, overflow %d, %d", s.Counter("added").Value(), s.Counter("removed").Value(), s.Counter("overflow").Value(), s.Gauge("names").Value())
		}
	})
}

func TestNamesTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &timedZone{wait: time.Hour}
		s := stats.NewStore().Scope("x.")
		c := newTestNames(t, z, nameSettings{timeout: second}, nameCounts{timeout: s.Counter("t")})
		began := time.Now()
		if _, err := c.lookup(t.Context(), "a"); !errors.Is(err, errDNSTimeout) || time.Since(began) != second || s.Counter("t").Value() != 1 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// A STRICT_DNS cluster follows its names; an endpoint that stays keeps its
// counts.
func TestStrictDNSFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{names: map[string][]string{"a.example": {"192.0.2.1", "192.0.2.2"}}}
		var dialled []string
		m := ofType(clusterv3.Cluster_STRICT_DNS, static1("a.example:1"))
		m.DnsRefreshRate = durationpb.New(10 * second)
		c := start(t, m, func(d *Deps) {
			d.Resolver = z
			d.Connector = connectorFunc(func(_ context.Context, to network.Address) (network.Conn, error) {
				dialled = append(dialled, to.Host())
				return nil, errNope
			})
		})
		open := func(n int) string {
			dialled = nil
			for range n {
				_, _, _ = c.Open(t.Context(), info())
			}
			slices.Sort(dialled)
			return strings.Join(slices.Compact(dialled), " ")
		}
		if got := open(2); got != "192.0.2.1 192.0.2.2" {
			t.Errorf("dialled %s", got)
		}
		z.set("a.example", "192.0.2.2", "192.0.2.3")
		time.Sleep(time.Minute)
		if got := open(2); got != "192.0.2.2 192.0.2.3" {
			t.Errorf("dialled %s", got)
		}
		for _, h := range c.Status().Hosts {
			if want := map[string]int64{"192.0.2.2:1": 2, "192.0.2.3:1": 1}[h.Address.String()]; h.CxConnectFail != want {
				t.Errorf("%s: %d failures, want %d", h.Address, h.CxConnectFail, want)
			}
		}
		if c.value("membership_total") != 2 || c.value("membership_change") != 2 {
			t.Errorf("membership_total %d, membership_change %d", c.value("membership_total"), c.value("membership_change"))
		}
	})
}
