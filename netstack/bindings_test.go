package netstack

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"testing"

	"culvert/configs/field"
	"culvert/netstack/netstacktest"
	"culvert/proxy/network"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

func binding(prefix string, port uint16, listener string) Binding {
	p, err := netip.ParsePrefix(prefix)
	if err != nil {
		a := netip.MustParseAddr(prefix)
		p = netip.PrefixFrom(a, a.BitLen())
	}
	return Binding{p, port, listener}
}

func TestBindingsLookup(t *testing.T) {
	b, err := NewBindings([]Binding{
		binding("198.18.0.0/24", 80, "all"),
		binding("198.18.0.10", 80, "ten"),
		binding("198.18.0.10", 443, "ten-tls"),
		binding("198.18.0.8/29", 80, "eight"),
		binding("fd00:198:18::a", 80, "six"),
		binding("fd00:198:18:1::/64", 80, "sixes"),
		binding("198.18.0.10", 8080, "ten"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]string{
		"198.18.0.10:80":            "ten",
		"198.18.0.10:443":           "ten-tls",
		"198.18.0.10:8080":          "ten",
		"198.18.0.11:80":            "eight",
		"198.18.0.7:80":             "all",
		"198.18.0.0:80":             "all",
		"198.18.0.255:80":           "all",
		"[::ffff:198.18.0.10]:80":   "ten",
		"[fd00:198:18::a]:80":       "six",
		"[fd00:198:18:1::ffff]:80":  "sixes",
		"[fd00:198:18::a%eth0]:80":  "six",
		"198.18.0.11:443":           "-",
		"198.18.0.10:81":            "-",
		"[fd00:198:18::a]:443":      "-",
		"198.18.2.1:80":             "",
		"[fd00:198:18::b]:80":       "",
		"127.0.0.1:80":              "",
		"[fd00:198:18:2::ffff]:443": "",
	} {
		ap := netip.MustParseAddrPort(to)
		got, ok := b.Lookup(ap)
		switch {
		case want == "-" || want == "":
			if ok || b.Holds(ap.Addr()) != (want == "-") {
				t.Errorf("%s: %q %v, held %v", to, got, ok, b.Holds(ap.Addr()))
			}
		case got != want || !ok || !b.Holds(ap.Addr()):
			t.Errorf("%s: %q %v, want %q", to, got, ok, want)
		}
	}
	if n := len(b.Prefixes()); n != 5 {
		t.Errorf("%d prefixes: %v", n, b.Prefixes())
	}
}

func TestNoBindings(t *testing.T) {
	var b *Bindings
	to := netip.MustParseAddrPort("198.18.0.10:80")
	if _, ok := b.Lookup(to); ok || b.Holds(to.Addr()) || b.Prefixes() != nil {
		t.Error("nil binds something")
	}
	if _, ok := b.Handler(to, nil); ok {
		t.Error("nil has a handler")
	}
}

func TestBindingsErrors(t *testing.T) {
	_, err := NewBindings([]Binding{
		binding("198.18.0.10", 80, "a"),
		binding("198.18.0.10/32", 80, "b"),
		binding("198.18.0.10/24", 80, "c"),
		binding("::ffff:198.18.0.10", 80, "d"),
		binding("198.18.0.11", 0, "e"),
		binding("198.18.0.11", 80, ""),
		binding("0.0.0.0", 80, "f"),
		binding("224.0.0.1", 80, "g"),
		binding("::1", 80, "h"),
		binding("fd00::1/64", 80, "i"),
		{Port: 80, Listener: "j"},
		binding("198.18.0.0/24", 80, "fine"),
	})
	want := []string{
		`[1]: 198.18.0.10/32 port 80 is bound to listener "a" already, by [0]`,
		`[2].address: "198.18.0.10/24" has bits set behind its length: 198.18.0.0/24 is meant`,
		`[3].address: ::ffff:198.18.0.10/128 is IPv4 in the clothes of IPv6: 198.18.0.10 is meant`,
		`[4].port: must be 1 to 65535`,
		`[5].listener: names no internal listener`,
		`[6].address: nobody outside can connect to 0.0.0.0/32`,
		`[7].address: nobody outside can connect to 224.0.0.1/32`,
		`[8].address: nobody outside can connect to ::1/128`,
		`[9].address: "fd00::1/64" has bits set behind its length: fd00::/64 is meant`,
		`[10].address: is not an address or a prefix`,
	}
	var got []string
	for _, e := range field.All(err) {
		got = append(got, e.Error())
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// bound is a rig with a listener at an address of either family.
func bound(t *testing.T) *rig {
	b, err := NewBindings([]Binding{
		binding("198.18.0.10", 80, "inside"), binding("fd00:198:18::a", 80, "inside"), binding("198.18.0.20", 80, "gone"),
	})
	if err != nil {
		t.Fatal(err)
	}
	var r *rig
	r = newRig(t, func(c *Config, d *Deps) {
		c.Bindings = b
		capture := d.Lookup
		d.Lookup = func(name string) (network.Handler, bool) {
			if name == "inside" {
				return network.HandlerFunc(func(ctx context.Context, f network.Flow) error {
					f.Info().Listener = "inside"
					return r.serve(ctx, f)
				}), true
			}
			return capture(name)
		}
	})
	return r
}

// A connect to a bound address is its listener's to answer, and unanswered
// until then; what is bound nowhere is captured as before.
func TestBoundAddress(t *testing.T) {
	r := bound(t)
	for i, c := range []struct{ src, dst, listener string }{
		{"10.9.0.2:40001", "198.18.0.10:80", "inside"},
		{"[fd09::2]:40001", "[fd00:198:18::a]:80", "inside"},
		{"10.9.0.2:40002", "198.18.0.11:80", ""},
		{"[fd09::2]:40002", "[fd00:198:18::b]:80", ""},
	} {
		src, dst := netip.MustParseAddrPort(c.src), netip.MustParseAddrPort(c.dst)
		r.send(netstacktest.SYN(src, dst, isn))
		a := r.arrive()
		info := a.flow.Info()
		if info.Listener != c.listener || info.LocalAddress.IP != dst || info.FilterState.Get(network.StateDestination) != dst.String() {
			t.Errorf("%s: listener %q, local %v, state %v", c.dst, info.Listener, info.LocalAddress, info.FilterState)
		}
		r.quiet() // nobody has said yes
		row := verdictTable()[i%2*4]
		a.finish(t, func(f network.Flow) error { f.Reject(row.cause); return row.cause })
		row.want.check(t, r, src, dst)
	}
}

// At a bound address other ports are closed, and a listener that is gone is
// none: no flow reaches the capture.
func TestBoundAddressRefuses(t *testing.T) {
	r := bound(t)
	for _, c := range []struct {
		dst  string
		want told
	}{
		{"198.18.0.10:81", told{reset: true}},
		{"[fd00:198:18::a]:81", told{reset: true}},
		{"198.18.0.20:80", told{type4: 3, cd4: 0}},
	} {
		dst := netip.MustParseAddrPort(c.dst)
		src := netip.AddrPortFrom(netstacktest.HostIPv4, 40009)
		if dst.Addr().Is6() {
			src = netip.AddrPortFrom(netstacktest.HostIPv6, 40009)
		}
		r.send(netstacktest.SYN(src, dst, isn))
		c.want.check(t, r, src, dst)
	}
	r.noFlow()
	eventually(t, "the flows end", func() bool { return r.stack.Stats().Flows == 0 })
	for _, info := range r.stack.flows.Ended() {
		if snap := info.Snapshot(); snap.Cause == "" || snap.Verdict == "accepted" {
			t.Errorf("%s: verdict %q cause %q", snap.Destination, snap.Verdict, snap.Cause)
		}
	}
}

func TestBoundAddressAnswersEcho(t *testing.T) {
	r := bound(t)
	for dst, answered := range map[string]bool{
		"198.18.0.10": true, "fd00:198:18::a": true, "198.18.0.11": false, "fd00:198:18::b": false,
	} {
		to, from := netip.MustParseAddr(dst), netstacktest.HostIPv4
		typ := uint8(header.ICMPv4EchoReply)
		if to.Is6() {
			from, typ = netstacktest.HostIPv6, uint8(header.ICMPv6EchoReply)
		}
		r.wire.Send(netstacktest.Echo(from, to, 1, 2, nil))
		if !answered {
			r.quiet()
		} else if p := r.wire.Next(); p.Type != typ || p.Src.Addr() != to {
			t.Errorf("%s: %+v", dst, p)
		}
	}
}

// Bytes and ends between a program and a listener inside, over a whole stack.
func TestBoundAddressCarriesBytes(t *testing.T) {
	b, err := NewBindings([]Binding{binding("198.18.0.0/28", 80, "inside"), binding("fd00:198:18::/120", 80, "inside")})
	if err != nil {
		t.Fatal(err)
	}
	echo := network.HandlerFunc(func(ctx context.Context, f network.Flow) error {
		c, err := f.Accept(ctx)
		if err != nil {
			return err
		}
		_, err = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
		return errors.Join(err, c.CloseWrite(), c.Close())
	})
	near, far := netstacktest.NewPair()
	host := netstacktest.NewHost(t, near)
	start(t, far, nil, func(c *Config, d *Deps) {
		c.Bindings, c.TCPListener = b, ""
		d.Lookup = func(name string) (network.Handler, bool) { return echo, name == "inside" }
	})
	for _, to := range []string{"198.18.0.1:80", "198.18.0.14:80", "[fd00:198:18::7f]:80"} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		c, err := host.Dial(ctx, netip.MustParseAddrPort(to))
		cancel()
		if err != nil {
			t.Fatalf("%s: %v", to, err)
		}
		sent := noise(1 << 20)
		go func() { // ends with the bytes
			_, _ = c.Write(sent)
			_ = c.CloseWrite()
		}()
		got, err := io.ReadAll(c)
		if err != nil || !slices.Equal(got, sent) {
			t.Errorf("%s: %d bytes came back, %v", to, len(got), err)
		}
		_ = c.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := host.Dial(ctx, netip.MustParseAddrPort("198.18.0.1:81")); !netstacktest.IsRefused(err) {
		t.Errorf("port 81: %v, want refused", err)
	}
}
