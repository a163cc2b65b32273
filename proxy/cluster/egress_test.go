package cluster

import (
	"net/netip"
	"strings"
	"testing"

	culvertv1 "culvert/configs/culvert/v1"
	"culvert/configs/field"
	"culvert/proxy/network"
)

func policy(t *testing.T, m *culvertv1.EgressPolicy) *egressPolicy {
	t.Helper()
	p, err := newEgressPolicy(m)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Every way to spell a forbidden target as an address, under the policy that
// nobody wrote.
func TestEgressDefaultRefuses(t *testing.T) {
	own := []netip.Prefix{netip.MustParsePrefix("8.8.4.4/32"), netip.MustParsePrefix("2606:4700::1/128")}
	refused := []string{
		"127.0.0.1", "127.0.0.2", "127.255.255.255", "127.1.2.3", "::1",
		"::ffff:127.0.0.1", "::ffff:7f00:1", "::127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b:1::127.0.0.1",
		"2002:7f00:1::", "2002:7f00:1::1", "2001:0:7f00:1::", "2001:0:808:808::80ff:fffe",
		"fe80::5efe:127.0.0.1", "2606:4700::200:5efe:127.0.0.1", "2606:4700::5efe:10.0.0.1",
		"0.0.0.0", "0.0.0.1", "0.1.2.3", "::", "::ffff:0.0.0.0", "64:ff9b::", "255.255.255.255", "::ffff:255.255.255.255",
		"169.254.0.1", "169.254.169.254", "169.254.170.2", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
		"fe80::1", "fe80::1%lo", "fe80::1%1", "fe80::a9fe:a9fe", "febf::1", "fd00:ec2::254", "fd20:ce::254",
		"100.100.100.200", "168.63.129.16", "192.0.0.192",
		"10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "100.127.255.254",
		"198.18.0.1", "198.19.255.255", "192.0.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "240.0.0.1", "254.1.1.1",
		"fc00::1", "fd00::1", "fdff::1", "fec0::1", "2001:db8::1", "100::1", "3fff::1", "5f00::1",
		"::ffff:10.0.0.1", "::ffff:192.168.1.1", "::10.0.0.1", "64:ff9b::10.0.0.1", "2002:c0a8:101::1", "2002:a00:1::",
		"224.0.0.1", "239.255.255.250", "ff02::1", "ff05::1:3", "ff00::", "::ffff:224.0.0.1", "ff02::1%eth0",
		"8.8.4.4", "::ffff:8.8.4.4", "2606:4700::1", "64:ff9b::8.8.4.4", "2002:808:404::1",
		"::1%lo", "::ffff:127.0.0.1%lo",
	}
	p := &egressPolicy{}
	for _, s := range refused {
		target := netip.AddrPortFrom(netip.MustParseAddr(s), 80)
		err := p.check(target, own)
		if err == nil {
			t.Errorf("%s is permitted", s)
			continue
		}
		if got := network.ReasonFor(err); got != network.ReasonProhibited {
			t.Errorf("%s: reason %v", s, got)
		}
	}
	if len(refused) < 60 {
		t.Errorf("only %d spellings", len(refused))
	}
}

func TestEgressDefaultPermitsPublic(t *testing.T) {
	p := &egressPolicy{}
	for _, s := range []string{
		"1.1.1.1", "8.8.8.8", "128.0.0.1", "126.255.255.255", "169.253.1.1", "172.32.0.1", "172.15.0.1", "100.128.0.1",
		"192.167.1.1", "198.20.0.1", "223.255.255.255", "2606:4700::1111", "2001:4860:4860::8888", "::ffff:8.8.8.8",
		"64:ff9b::8.8.8.8", "2002:808:808::1",
	} {
		if err := p.check(netip.AddrPortFrom(netip.MustParseAddr(s), 443), nil); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func allow(prefix string, ports ...*culvertv1.PortRange) *culvertv1.EgressRange {
	return &culvertv1.EgressRange{Prefix: prefix, Ports: ports}
}

func TestEgressPolicy(t *testing.T) {
	own := []netip.Prefix{netip.MustParsePrefix("10.9.0.1/32")}
	ports := func(first, last uint32) *culvertv1.PortRange { return &culvertv1.PortRange{First: first, Last: last} }
	type M = culvertv1.EgressPolicy
	type R = []*culvertv1.EgressRange
	tests := []struct {
		name   string
		m      *M
		target string
		ok     bool
	}{
		{"loopback switch", &M{AllowLoopback: true}, "127.0.0.1:80", true},
		{"loopback switch, mapped", &M{AllowLoopback: true}, "[::ffff:127.0.0.1]:80", true},
		{"loopback switch, private", &M{AllowLoopback: true}, "10.0.0.1:80", false},
		{"link-local switch", &M{AllowLinkLocal: true}, "169.254.1.1:80", true},
		{"link-local switch, metadata", &M{AllowLinkLocal: true}, "169.254.169.254:80", false},
		{"metadata switch", &M{AllowMetadata: true}, "169.254.169.254:80", true},
		{"private switch", &M{AllowPrivate: true}, "10.0.0.1:80", true},
		{"private switch, metadata in it", &M{AllowPrivate: true}, "100.100.100.200:80", false},
		{"private switch, v6", &M{AllowPrivate: true}, "[fd00::1]:80", true},
		{"private switch, own", &M{AllowPrivate: true}, "10.9.0.1:80", false},
		{"own switch, private too", &M{AllowOwnAddresses: true}, "10.9.0.1:80", false},
		{"own and private", &M{AllowOwnAddresses: true, AllowPrivate: true}, "10.9.0.1:80", true},
		{"own by name of it", &M{Allow: R{allow("10.9.0.1"), allow("10.0.0.0/8")}}, "10.9.0.1:80", true},
		{"allow in the class", &M{Allow: R{allow("10.1.0.0/16")}}, "10.1.2.3:80", true},
		{"allow in the class, NAT64", &M{Allow: R{allow("10.1.0.0/16")}}, "[64:ff9b::10.1.2.3]:80", true},
		{"allow beside", &M{Allow: R{allow("10.1.0.0/16")}}, "10.2.2.3:80", false},
		{"everything opens no class", &M{Allow: R{allow("0.0.0.0/0")}}, "10.1.2.3:80", false},
		{"everything opens no loopback", &M{Allow: R{allow("0.0.0.0/0"), allow("::/0")}}, "127.0.0.1:80", false},
		{"one metadata host", &M{Allow: R{allow("169.254.169.254")}}, "169.254.169.254:80", true},
		{"link-local range opens no metadata", &M{Allow: R{allow("169.254.0.0/16")}}, "169.254.169.254:80", false},
		{"port in range", &M{Allow: R{allow("127.0.0.1", ports(8000, 8100))}}, "127.0.0.1:8100", true},
		{"port outside", &M{Allow: R{allow("127.0.0.1", ports(8000, 8100))}}, "127.0.0.1:8101", false},
		{"single port", &M{Allow: R{allow("127.0.0.1", ports(80, 0))}}, "127.0.0.1:80", true},
		{"single port, other", &M{Allow: R{allow("127.0.0.1", ports(80, 0))}}, "127.0.0.1:81", false},
		{"deny wins over switch", &M{AllowPrivate: true, Deny: R{allow("10.0.0.0/8")}}, "10.0.0.1:80", false},
		{"deny wins over allow", &M{Allow: R{allow("10.0.0.1")}, Deny: R{allow("10.0.0.1", ports(22, 22))}}, "10.0.0.1:22", false},
		{"deny of a port leaves the others", &M{Allow: R{allow("10.0.0.1")}, Deny: R{allow("10.0.0.1", ports(22, 22))}}, "10.0.0.1:80", true},
		{"deny public", &M{Deny: R{allow("8.8.0.0/16")}}, "8.8.8.8:53", false},
		{"deny, mapped spelling", &M{Deny: R{allow("8.8.0.0/16")}}, "[::ffff:8.8.8.8]:53", false},
		{"deny written mapped", &M{Deny: R{allow("::ffff:8.8.0.0/112")}}, "8.8.8.8:53", false},
		{"deny, NAT64 spelling", &M{Deny: R{allow("8.8.0.0/16")}}, "[64:ff9b::8.8.8.8]:53", false},
		{"only allowed", &M{OnlyAllowed: true, Allow: R{allow("1.1.1.1")}}, "8.8.8.8:53", false},
		{"only allowed, in it", &M{OnlyAllowed: true, Allow: R{allow("1.1.1.1")}}, "1.1.1.1:53", true},
		{"only allowed, everything", &M{OnlyAllowed: true, Allow: R{allow("0.0.0.0/0")}}, "8.8.8.8:53", true},
		{"only allowed still needs the class", &M{OnlyAllowed: true, AllowPrivate: true}, "10.0.0.1:53", false},
		{"multicast never", &M{Allow: R{allow("224.0.0.1")}}, "224.0.0.1:53", false},
		{"unspecified never", &M{AllowLoopback: true, Allow: R{allow("0.0.0.0"), allow("::")}}, "[::]:53", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := policy(t, tt.m).check(netip.MustParseAddrPort(tt.target), own)
			if (err == nil) != tt.ok {
				t.Errorf("%s: %v, want permitted %v", tt.target, err, tt.ok)
			}
		})
	}
}

func TestEgressPolicyErrors(t *testing.T) {
	_, err := newEgressPolicy(&culvertv1.EgressPolicy{
		Allow: []*culvertv1.EgressRange{allow("10.0.0.0/8"), allow("10.0.0.0/33"), allow("fe80::1%lo")},
		Deny:  []*culvertv1.EgressRange{allow("1.1.1.1", &culvertv1.PortRange{First: 80, Last: 79})},
	})
	var paths []string
	for _, e := range field.All(err) {
		paths = append(paths, e.Path)
	}
	if got, want := strings.Join(paths, " "), "allow[1].prefix allow[2].prefix deny[0].ports[0]"; got != want {
		t.Errorf("errors at %q, want %q: %v", got, want, err)
	}
}

func FuzzEgressNeverPanics(f *testing.F) {
	f.Add([]byte{127, 0, 0, 1}, uint16(80))
	f.Add(make([]byte, 16), uint16(0))
	p := &egressPolicy{}
	f.Fuzz(func(t *testing.T, b []byte, port uint16) {
		ip, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		err := p.check(netip.AddrPortFrom(ip, port), nil)
		// Whatever the standard library calls not global is never permitted.
		u := ip.Unmap()
		if err == nil && (u.IsLoopback() || u.IsPrivate() || u.IsUnspecified() || u.IsLinkLocalUnicast() || u.IsMulticast()) {
			t.Errorf("%v is permitted", ip)
		}
	})
}
