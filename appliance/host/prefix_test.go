package host

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func prefixes(t testing.TB, list string) []netip.Prefix {
	t.Helper()
	var out []netip.Prefix
	for _, s := range strings.Fields(list) {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestSubtract(t *testing.T) {
	for _, c := range []struct{ name, from, without, want string }{
		{"nothing", "0.0.0.0/0", "", "0.0.0.0/0"},
		{"elsewhere", "10.0.0.0/8", "192.0.2.0/24", "10.0.0.0/8"},
		{"other family", "0.0.0.0/0", "2001:db8::/32", "0.0.0.0/0"},
		{"itself", "10.0.0.0/8", "10.0.0.0/8", ""},
		{"covered", "10.1.0.0/16", "10.0.0.0/8", ""},
		{"one half", "10.0.0.0/8", "10.128.0.0/9", "10.0.0.0/9"},
		{"in the middle", "10.0.0.0/8", "10.64.0.0/10", "10.0.0.0/10 10.128.0.0/9"},
		{"host bits ignored", "10.0.0.7/8", "10.128.0.9/9", "10.0.0.0/9"},
		{"two", "0.0.0.0/0", "0.0.0.0/2 192.0.0.0/2", "64.0.0.0/2 128.0.0.0/2"},
		{"last address", "10.0.0.0/31", "10.0.0.1/32", "10.0.0.0/32"},
		{"v6", "2001:db8::/32", "2001:db8:8000::/33", "2001:db8::/33"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := subtract(netip.MustParsePrefix(c.from), prefixes(t, c.without))
			if fmt.Sprint(got) != fmt.Sprint(prefixes(t, c.want)) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// Whatever is excluded, each address is covered exactly as it should be.
func FuzzSubtract(f *testing.F) {
	f.Add([]byte{10, 0, 0, 0}, uint8(8), []byte{10, 1, 2, 3}, uint8(24), []byte{10, 1, 2, 3})
	f.Add([]byte{0, 0, 0, 0}, uint8(0), []byte{255, 255, 255, 255}, uint8(32), []byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, a []byte, abits uint8, e []byte, ebits uint8, probe []byte) {
		addr, ok1 := netip.AddrFromSlice(a)
		ex, ok2 := netip.AddrFromSlice(e)
		p, ok3 := netip.AddrFromSlice(probe)
		if !ok1 || !ok2 || !ok3 || addr.BitLen() != ex.BitLen() || addr.BitLen() != p.BitLen() {
			return
		}
		from := netip.PrefixFrom(addr, int(abits)%(addr.BitLen()+1))
		without := netip.PrefixFrom(ex, int(ebits)%(ex.BitLen()+1))
		covered := 0
		for _, got := range subtract(from, []netip.Prefix{without}) {
			if got.Contains(p) {
				covered++
			}
		}
		want := 0
		if from.Contains(p) && !without.Contains(p) {
			want = 1
		}
		if covered != want {
			t.Errorf("%v without %v covers %v %d times, want %d", from, without, p, covered, want)
		}
	})
}

func TestSplit(t *testing.T) {
	yes, no := func(bool) bool { return true }, func(bool) bool { return false }
	p := Plan{Routes: []Route{{Prefix: netip.MustParsePrefix("0.0.0.0/0")}}}
	for _, c := range []struct {
		name       string
		hasDefault func(bool) bool
		want       string
	}{
		{"alone", no, "0.0.0.0/0"},
		{"beside another default", yes, "0.0.0.0/1 128.0.0.0/1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			routes, err := p.split(c.hasDefault)
			if err != nil {
				t.Fatal(err)
			}
			var got []netip.Prefix
			for _, r := range routes {
				got = append(got, r.Prefix)
			}
			if fmt.Sprint(got) != fmt.Sprint(prefixes(t, c.want)) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}

	t.Run("too many", func(t *testing.T) {
		many := Plan{Routes: []Route{{Prefix: netip.MustParsePrefix("::/0")}}}
		for i := range 64 {
			a := netip.AddrFrom16([16]byte{byte(i) << 2, 15: 1})
			many.Exclude = append(many.Exclude, netip.PrefixFrom(a, 128))
		}
		if _, err := many.split(no); err == nil {
			t.Error("no bound on the number of routes")
		}
	})
}

func TestPlanCheck(t *testing.T) {
	v4, v6 := netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")
	for _, c := range []struct {
		name string
		plan Plan
		want string // "" is good
	}{
		{"good", Plan{Interface: "culvert0", Table: 7, Rules: []Rule{{Priority: 100}}}, ""},
		{"no name", Plan{}, `interface name ""`},
		{"long name", Plan{Interface: "0123456789abcdef"}, "1 to 15"},
		{"bad address", Plan{Interface: "a", Addresses: []netip.Prefix{{}}}, "address is not valid"},
		{"bad route", Plan{Interface: "a", Routes: []Route{{}}}, "prefix of a route"},
		{"gateway of the other family", Plan{Interface: "a", Routes: []Route{{Prefix: v4, Gateway: v6.Addr()}}}, "other family"},
		{"priority", Plan{Interface: "a", Table: 7, Rules: []Rule{{}}}, "priority 0"},
		{"no table", Plan{Interface: "a", Rules: []Rule{{Priority: 1}}}, "no table"},
		{"two families", Plan{Interface: "a", Table: 7, Rules: []Rule{{Priority: 1, From: v4, To: v6}}}, "different families"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.plan.check()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
