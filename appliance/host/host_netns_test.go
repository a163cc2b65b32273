package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"culvert/test/leak"
	"culvert/test/need"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == innerArg {
		os.Exit(inner(os.Args[2]))
	}
	leak.Main(m)
}

func newNS(t *testing.T) *Namespace {
	t.Helper()
	ns, err := NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	return ns
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestNamespaceDo(t *testing.T) {
	need.Netns(t)
	here, err := CurrentNamespace()
	must(t, err)
	defer func() { _ = here.Close() }()
	ns := newNS(t)
	inside := func() bool {
		now, err := CurrentNamespace()
		must(t, err)
		defer func() { _ = now.Close() }()
		return now.Same(ns)
	}
	if ns.Same(here) {
		t.Fatal("the new namespace is the old one")
	}
	wrong := errors.New("fn's own")
	if err := ns.Do(func() error {
		if !inside() {
			t.Error("Do runs outside")
		}
		return wrong
	}); err != wrong {
		t.Errorf("Do returned %v", err)
	}
	if inside() {
		t.Error("the thread stayed inside after Do")
	}

	func() {
		defer func() {
			if recover() == nil {
				t.Error("Do swallowed a panic")
			}
		}()
		_ = ns.Do(func() error { panic("fn's own") })
	}()
	if inside() {
		t.Error("the thread stayed inside after a panic")
	}

	again, err := OpenNamespace(ns.Path())
	must(t, err)
	defer func() { _ = again.Close() }()
	if !again.Same(ns) {
		t.Error("Path leads elsewhere")
	}
}

func TestOpenNamespaceRefusesOthers(t *testing.T) {
	for _, path := range []string{"/proc/self/ns/uts", "/proc/self/status", "/no/such/file"} {
		if ns, err := OpenNamespace(path); err == nil {
			_ = ns.Close()
			t.Errorf("%s was opened as a network namespace", path)
		}
	}
}

// Sockets made inside work from outside, and see nothing of the outside.
//
//	ns: lo 127.0.0.1, ::1
func TestNamespaceSockets(t *testing.T) {
	need.Netns(t)
	need.IPv6(t)
	ns := newNS(t)
	must(t, ns.LoopbackUp())
	ctx := t.Context()
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(at, func(t *testing.T) {
			ln, err := ns.Listen(ctx, "tcp", at)
			must(t, err)
			defer func() { _ = ln.Close() }()
			if c, err := net.DialTimeout("tcp", ln.Addr().String(), time.Second); err == nil {
				_ = c.Close()
				t.Error("the listener can be reached from outside")
			}
			c, err := ns.DialContext(ctx, "tcp", ln.Addr().String())
			must(t, err)
			defer func() { _ = c.Close() }()
			far, err := ln.Accept()
			must(t, err)
			_, err = io.WriteString(c, "hello")
			must(t, err)
			must(t, c.(*net.TCPConn).CloseWrite())
			got, err := io.ReadAll(far)
			_ = far.Close()
			if err != nil || string(got) != "hello" {
				t.Errorf("got %q, %v", got, err)
			}
			_ = ln.Close()
			if _, err := ns.DialContext(ctx, "tcp", ln.Addr().String()); !errors.Is(err, unix.ECONNREFUSED) {
				t.Errorf("a closed port gave %v", err)
			}
		})
	}
	t.Run("udp", func(t *testing.T) {
		pc, err := ns.ListenPacket(ctx, "udp", "127.0.0.1:0")
		must(t, err)
		defer func() { _ = pc.Close() }()
		c, err := ns.DialContext(ctx, "udp", pc.LocalAddr().String())
		must(t, err)
		defer func() { _ = c.Close() }()
		_, err = io.WriteString(c, "hello")
		must(t, err)
		buf := make([]byte, 9)
		if n, _, err := pc.ReadFrom(buf); err != nil || string(buf[:n]) != "hello" {
			t.Errorf("got %q, %v", buf[:n], err)
		}
	})
	for _, bad := range [][2]string{{"tcp", "localhost:80"}, {"tcp6", "127.0.0.1:80"}, {"tcp4", "[::1]:80"}, {"unix", "127.0.0.1:1"}, {"tcp", "127.0.0.1"}} {
		if _, err := ns.DialContext(ctx, bad[0], bad[1]); err == nil {
			t.Errorf("dialed %s %s", bad[0], bad[1])
		}
	}
	if _, err := ns.Listen(ctx, "tcp", "localhost:0"); err == nil {
		t.Error("Listen looked up a name")
	}
}

// pair makes two namespaces joined by a veth: eth0 10.1.0.1 and eth0 10.1.0.2.
func pair(t *testing.T) (a, b *Namespace) {
	t.Helper()
	a, b = newNS(t), newNS(t)
	must(t, VethPair(a, "eth0", b, "eth0"))
	apply(t, a, Plan{Interface: "eth0", Addresses: prefixes(t, "10.1.0.1/24 fd00:1::1/64")})
	apply(t, b, Plan{Interface: "eth0", Addresses: prefixes(t, "10.1.0.2/24 fd00:1::2/64")})
	return a, b
}

func apply(t *testing.T, ns *Namespace, p Plan) *Applied {
	t.Helper()
	a, err := Apply(t.Context(), ns, p)
	must(t, err)
	t.Cleanup(func() {
		if err := a.Undo(); err != nil {
			t.Errorf("undo: %v", err)
		}
	})
	return a
}

// A dial that waits ends with its context, and holds no thread meanwhile.
//
//	a 10.1.0.1 ── 10.1.0.2 b, which drops everything for 10.9.0.0/16
func TestDialIsCanceled(t *testing.T) {
	need.Netns(t)
	a, b := pair(t)
	must(t, b.Sysctl("ipv4.ip_forward", "1"))
	apply(t, a, Plan{Interface: "eth0", Routes: []Route{
		{Prefix: netip.MustParsePrefix("10.9.0.0/16"), Gateway: netip.MustParseAddr("10.1.0.2")}}})
	must(t, b.withHandle(func(h *netlink.Handle) error {
		return h.RouteAdd(&netlink.Route{Dst: ipNet(netip.MustParsePrefix("10.9.0.0/16")), Type: unix.RTN_BLACKHOLE})
	}))
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(cause) })
	if _, err := a.DialContext(ctx, "tcp", "10.9.0.1:80"); !errors.Is(err, cause) {
		t.Errorf("dial ended with %v", err)
	}
}

// state is everything a plan can change, as text.
func state(t *testing.T, ns *Namespace) string {
	t.Helper()
	var b strings.Builder
	must(t, ns.withHandle(func(h *netlink.Handle) error {
		links, err := h.LinkList()
		if err != nil {
			return err
		}
		for _, l := range links {
			a := l.Attrs()
			fmt.Fprintf(&b, "link %s mtu %d qlen %d flags %v\n", a.Name, a.MTU, a.TxQLen, a.Flags&net.FlagUp)
			addrs, err := h.AddrList(l, netlink.FAMILY_ALL)
			if err != nil {
				return err
			}
			for _, ad := range addrs {
				if !ad.IP.IsLinkLocalUnicast() { // comes and goes by itself
					fmt.Fprintf(&b, "addr %s\n", ad)
				}
			}
		}
		for _, table := range []int{unix.RT_TABLE_MAIN, 700} {
			routes, err := h.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: table, Protocol: Protocol}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
			if err != nil {
				return err
			}
			for _, r := range routes {
				fmt.Fprintf(&b, "route %s table %d\n", r.Dst, r.Table)
			}
		}
		for _, fam := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
			rules, err := h.RuleList(fam)
			if err != nil {
				return err
			}
			for _, r := range rules {
				fmt.Fprintf(&b, "rule %v mark %#x uid %v proto %d\n", r, r.Mark, r.UIDRange, r.Protocol)
			}
		}
		return nil
	}))
	return b.String()
}

// fullPlan has some of everything, for the end of a veth pair.
func fullPlan(t *testing.T) Plan {
	t.Helper()
	me := uint32(os.Getuid()) // another need not exist in this user namespace
	return Plan{
		Interface: "eth0", MTU: 1400, QueueLength: 10000, NoLinkLocal: true,
		Addresses: prefixes(t, "198.18.0.1/32 fd00:198:18::1/128"),
		Routes:    []Route{{Prefix: netip.MustParsePrefix("0.0.0.0/0")}, {Prefix: netip.MustParsePrefix("::/0")}},
		Exclude:   prefixes(t, "10.0.0.0/8"),
		Table:     700,
		Rules: []Rule{
			{Priority: 100, Mark: 0x51, Invert: true},
			{Priority: 99, UIDs: &UIDRange{First: me, Last: me}},
			{Priority: 98, From: netip.MustParsePrefix("198.18.0.1/32")},
		},
	}
}

func TestApplyAndUndo(t *testing.T) {
	need.Netns(t)
	need.IPv6(t)
	a, b := newNS(t), newNS(t)
	must(t, VethPair(a, "eth0", b, "eth0"))
	before := state(t, a)
	applied, err := Apply(t.Context(), a, fullPlan(t))
	must(t, err)
	during := state(t, a)
	for _, want := range []string{
		"link eth0 mtu 1400 qlen 10000 flags up",
		"addr 198.18.0.1/32", "addr fd00:198:18::1/128",
		"route 128.0.0.0/1 table 700", "route 11.0.0.0/8 table 700", "route ::/0 table 700",
		"mark 0x51", "rule ip rule 98: from 198.18.0.1/32",
	} {
		if !strings.Contains(during, want) {
			t.Errorf("no %q in:\n%s", want, during)
		}
	}
	if strings.Contains(during, "route 10.0.0.0") || strings.Contains(during, "route 0.0.0.0/0") {
		t.Errorf("an excluded prefix is routed:\n%s", during)
	}

	// A plan in force is a plan in force: its rules are known to be alive.
	second := fullPlan(t)
	if _, err := Apply(t.Context(), a, second); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a second plan with the same priorities: %v", err)
	}
	second.Rules = nil
	again, err := Apply(t.Context(), a, second)
	must(t, err)
	must(t, again.Undo())
	if now := state(t, a); now != during {
		t.Errorf("applying what is there and undoing it changed:\n%s\nto:\n%s", during, now)
	}

	must(t, applied.Undo())
	if after := state(t, a); after != before {
		t.Errorf("undo left:\n%s\nof:\n%s", after, before)
	}
	must(t, applied.Undo())
}

func TestApplyRollsBack(t *testing.T) {
	need.Netns(t)
	a, b := newNS(t), newNS(t)
	must(t, VethPair(a, "eth0", b, "eth0"))
	before := state(t, a)
	gateway := fullPlan(t)
	gateway.Routes = append(gateway.Routes[1:], Route{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Gateway: netip.MustParseAddr("203.0.113.1")})
	other := fullPlan(t)
	other.Interface = "eth1"
	for _, c := range []struct {
		name string
		plan Plan
		want string
	}{
		{"a gateway out of reach", gateway, "add route 192.0.2.0/24 via 203.0.113.1 dev eth0 table 700: network is unreachable (the gateway"},
		{"no interface", other, "find interface eth1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Apply(t.Context(), a, c.plan)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if after := state(t, a); after != before {
				t.Errorf("rollback left:\n%s\nof:\n%s", after, before)
			}
		})
	}
}

// endsAfter is a context that ends after so many steps.
type endsAfter struct {
	context.Context
	steps int
}

func (c *endsAfter) Err() error {
	if c.steps--; c.steps < 0 {
		return context.Canceled
	}
	return nil
}

// Wherever a plan stops, nothing of it remains.
func TestApplyRollsBackEveryStep(t *testing.T) {
	need.Netns(t)
	need.IPv6(t)
	a, b := newNS(t), newNS(t)
	must(t, VethPair(a, "eth0", b, "eth0"))
	before := state(t, a)
	for steps := 0; ; steps++ {
		applied, err := Apply(&endsAfter{t.Context(), steps}, a, fullPlan(t))
		if err == nil {
			must(t, applied.Undo())
			if steps < 15 {
				t.Errorf("the whole plan took only %d steps", steps)
			}
			return
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if after := state(t, a); after != before {
			t.Fatalf("rollback after %d steps left:\n%s\nof:\n%s", steps, after, before)
		}
	}
}

// A default route that is there already keeps its place and is outranked.
func TestApplyOutranksDefault(t *testing.T) {
	need.Netns(t)
	a, b := pair(t)
	apply(t, a, Plan{Interface: "eth0", Routes: []Route{{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.1.0.2")}}})
	must(t, VethPair(a, "eth1", b, "eth1"))
	apply(t, a, Plan{Interface: "eth1", Routes: []Route{{Prefix: netip.MustParsePrefix("0.0.0.0/0")}}, Exclude: prefixes(t, "192.0.2.0/24")})
	for dst, want := range map[string]string{"203.0.113.1": "eth1", "8.8.8.8": "eth1", "192.0.2.1": "eth0"} {
		must(t, a.withHandle(func(h *netlink.Handle) error {
			routes, err := h.RouteGet(net.ParseIP(dst))
			if err != nil {
				return err
			}
			l, err := h.LinkByIndex(routes[0].LinkIndex)
			if err == nil && l.Attrs().Name != want {
				t.Errorf("%s goes to %s, want %s", dst, l.Attrs().Name, want)
			}
			return err
		}))
	}
}

// What a killed process leaves: the interface is gone and the rules are not.
func TestStaleRulesAreRemoved(t *testing.T) {
	need.Netns(t)
	a, b := newNS(t), newNS(t)
	must(t, VethPair(a, "eth0", b, "eth0"))
	clean := state(t, a)
	killed, err := Apply(t.Context(), a, fullPlan(t))
	must(t, err)
	killed.h.Close() // and no Undo
	must(t, a.RemoveLink("eth0"))
	if left := state(t, a); !strings.Contains(left, "mark 0x51") || strings.Contains(left, "route") {
		t.Fatalf("expected rules and no routes after the interface went:\n%s", left)
	}
	must(t, VethPair(a, "eth0", b, "eth0"))
	next, err := Apply(t.Context(), a, fullPlan(t))
	must(t, err)
	must(t, next.Undo())
	if after := state(t, a); after != clean {
		t.Errorf("left:\n%s\nof:\n%s", after, clean)
	}
}

// A TUN made inside belongs to the namespace; its routes go with it.
func TestTUNRoutesVanishWithIt(t *testing.T) {
	need.TUN(t)
	ns := newNS(t)
	before := state(t, ns)
	fd := -1
	must(t, ns.Do(func() (err error) {
		if fd, err = unix.Open(TUNNode, unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		req, err := unix.NewIfreq("culvert0")
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}))
	p := fullPlan(t)
	p.Interface, p.Table, p.Rules = "culvert0", 0, nil
	applied, err := Apply(t.Context(), ns, p)
	must(t, err)
	if ok, err := ns.HasLink("culvert0"); !ok || err != nil {
		t.Errorf("HasLink: %v, %v", ok, err)
	}
	must(t, unix.Close(fd)) // as the kernel does for a killed process
	if after := state(t, ns); after != before {
		t.Errorf("left:\n%s\nof:\n%s", after, before)
	}
	must(t, applied.Undo())
}

func TestStartInNamespace(t *testing.T) {
	need.Netns(t)
	cat := need.Command(t, "cat")
	ns := newNS(t)
	cmd := exec.Command(cat, "/proc/net/dev")
	var out bytes.Buffer
	cmd.Stdout = &out
	must(t, ns.Start(cmd))
	must(t, cmd.Wait())
	if s := out.String(); !strings.Contains(s, "lo:") || strings.Count(s, ":") != 1 {
		t.Errorf("the process sees:\n%s", s)
	}
}
