package appliance

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"culvert/appliance/host"
	"culvert/configs/culvert/v1"
	"culvert/configs/field"
	"culvert/netstack"
	"culvert/netstack/tundev"

	"google.golang.org/protobuf/proto"
)

// Defaults of culvert.v1.Tun that are not a package's own.
const (
	defaultTunName      = "culvert%d"
	defaultRulePriority = 10000
)

// tunSpec is a culvert.v1.Tun, compiled: what device to open, what shall lead
// to it, what to capture.
type tunSpec struct {
	msg     *culvertv1.Tun
	path    string // of the message in the configuration
	netns   string
	device  tundev.Options
	plan    host.Plan // Interface is set once the kernel has named it
	capture netstack.Config
	mark    uint32

	none     bool // no device: what is bound is reached by payload of tunnels only
	bindings []netstack.Binding
}

// newTunSpec reads the message; errors carry paths within it.
func newTunSpec(m *culvertv1.Tun) (*tunSpec, error) {
	s := &tunSpec{msg: m, netns: m.GetNetns(), mark: m.GetMark(), none: m.GetDevice() == culvertv1.Tun_NONE}
	var errs []error
	switch m.GetDevice() {
	case culvertv1.Tun_AUTO, culvertv1.Tun_TUN:
	case culvertv1.Tun_NONE:
		errs = append(errs, withoutDevice(m))
	default:
		errs = append(errs, field.Errorf("device", "%v is not supported yet: use TUN", m.GetDevice()))
	}
	name := m.GetName()
	if name == "" {
		name = defaultTunName
	}
	errs = append(errs, field.At("name", checkDeviceName(name)))
	s.device = tundev.Options{Name: name, MTU: int(m.GetMtu()), QueueLength: int(m.GetQueueLength())}
	s.capture = netstack.Config{
		TCPListener:        m.GetTcpListener(),
		MaxPendingConnects: int(m.GetMaxPendingConnects()), MaxPendingPerSource: int(m.GetMaxPendingConnectsPerSource()),
		MaxFlows: int(m.GetMaxFlows()),
	}
	errs = append(errs, s.readPlan(m), s.readBindings(m))
	return s, field.Join(errs...)
}

func (s *tunSpec) readPlan(m *culvertv1.Tun) error {
	addresses, err1 := prefixes("addresses", m.GetAddresses(), false)
	err1 = field.Join(err1, checkOwnAddresses(m.GetAddresses()))
	routes, err2 := prefixes("routes", m.GetRoutes(), true)
	exclude, err3 := prefixes("exclude_routes", m.GetExcludeRoutes(), true)
	s.plan = host.Plan{
		MTU: int(m.GetMtu()), Addresses: addresses, Exclude: exclude,
		NoLinkLocal: true, Table: int(m.GetTable()),
	}
	for _, p := range routes {
		s.plan.Routes = append(s.plan.Routes, host.Route{Prefix: p})
	}
	if m.GetTable() != 0 {
		priority := int(m.GetRulePriority())
		if priority == 0 {
			priority = defaultRulePriority
		}
		// Everybody but our own sockets looks into the table.
		s.plan.Rules = []host.Rule{{Priority: priority, Mark: m.GetMark(), Invert: m.GetMark() != 0}}
	}
	var err4 error
	switch {
	case m.GetTable() == 0 && m.GetRulePriority() != 0:
		err4 = field.WithFix(field.Errorf("rule_priority", "no rule is made without a table"),
			"set table to a number that nothing else on this host uses, such as 0xc01")
	case m.GetTable() != 0 && m.GetMark() == 0 && m.GetNetns() == "":
		err4 = field.WithFix(field.Errorf("table", "without a mark the rule leads culvert's own sockets into its TUN as well"),
			"set mark to a number that nothing else on this host uses, such as 0xc01")
	}
	return field.Join(err1, err2, err3, err4)
}

// checkDeviceName refuses what the kernel would refuse, or take for something
// else: it prints a number into the name.
func checkDeviceName(name string) error {
	const maxName = 15 // IFNAMSIZ without its terminating zero
	pattern := strings.Replace(name, "%d", "0", 1)
	switch {
	case name == "." || name == "..", strings.ContainsAny(pattern, "/:% \t\n\v\f\r"), len(pattern) > maxName:
		return field.WithFix(fmt.Errorf("%q is no name of an interface", name),
			fmt.Sprintf("at most %d characters without / : %% and spaces, with %%d once for a number that the kernel chooses", maxName))
	}
	return nil
}

// checkOwnAddresses refuses addresses that an interface cannot have.
func checkOwnAddresses(in []string) error {
	var errs []error
	for i, text := range in {
		p, err := parsePrefix(text)
		if err != nil {
			continue // said already
		}
		var what string
		switch a := p.Addr(); {
		case a.Is4In6():
			what = "an IPv4 address in IPv6: write it as IPv4"
		case a.IsUnspecified():
			what = "no address"
		case a.IsMulticast():
			what = "a multicast address"
		default:
			continue
		}
		errs = append(errs, field.Errorf(field.Index("addresses", i), "%v is %s", p.Addr(), what))
	}
	return field.Join(errs...)
}

// prefixes parses "address/length" or a bare address. With masked the host
// bits must be zero.
func prefixes(name string, in []string, masked bool) ([]netip.Prefix, error) {
	var out []netip.Prefix
	var errs []error
	for i, text := range in {
		p, err := parsePrefix(text)
		if err == nil && masked && p != p.Masked() {
			err = fmt.Errorf("%q has bits set behind its length: %v is meant", text, p.Masked())
		}
		if err != nil {
			errs = append(errs, field.At(field.Index(name, i), err))
			continue
		}
		out = append(out, p)
	}
	return out, field.Join(errs...)
}

func parsePrefix(text string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p, nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is not an address or a prefix such as 10.0.0.0/8", text)
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// sameTuns reports whether a new configuration captures as the old one did:
// devices outlive a reload. What has no device is made anew.
func sameTuns(old, now []*tunSpec) error {
	same := slices.EqualFunc(devices(old), devices(now), func(a, b *tunSpec) bool { return proto.Equal(a.msg, b.msg) })
	if same {
		return nil
	}
	return field.WithFix(field.Errorf("bootstrap_extensions", "the TUN devices differ from the running ones: a reload cannot change them"),
		"restart to change them")
}

// devices are the specs that have one.
func devices(specs []*tunSpec) []*tunSpec {
	return slices.DeleteFunc(slices.Clone(specs), func(s *tunSpec) bool { return s.none })
}
