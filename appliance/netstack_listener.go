package appliance

import (
	"net/netip"
	"slices"

	"culvert/appliance/host"
	"culvert/configs/culvert/v1"
	"culvert/configs/field"
	"culvert/netstack"
	"culvert/proxy/network"
)

// readBindings compiles netstack_listeners, and leads what is bound to the
// device where routes do not already.
func (s *tunSpec) readBindings(m *culvertv1.Tun) error {
	var errs []error
	for i, l := range m.GetNetstackListeners() {
		p, err := parsePrefix(l.GetAddress())
		if err != nil {
			errs = append(errs, field.At(field.Index("netstack_listeners", i)+".address", err))
			continue
		}
		s.bindings = append(s.bindings, netstack.Binding{Prefix: p, Port: uint16(l.GetPort()), Listener: l.GetListener()})
	}
	if len(errs) > 0 {
		return field.Join(errs...)
	}
	var err error
	if s.capture.Bindings, err = netstack.NewBindings(s.bindings); err != nil {
		return field.At("netstack_listeners", err)
	}
	if s.none {
		return nil
	}
	return s.routeBindings()
}

// routeBindings adds a route for each bound prefix that has none.
func (s *tunSpec) routeBindings() error {
	var errs []error
	for i, b := range s.bindings {
		path := field.Index("netstack_listeners", i) + ".address"
		if b.Prefix.IsSingleIP() && slices.ContainsFunc(s.plan.Addresses, func(a netip.Prefix) bool { return a.Addr() == b.Prefix.Addr() }) {
			errs = append(errs, field.WithFix(field.Errorf(path, "%s is the interface's own address: the kernel answers it, and nothing for it comes here", b.Prefix.Addr()),
				"bind another address, such as 198.18.0.10"))
		}
		if slices.ContainsFunc(s.plan.Exclude, func(e netip.Prefix) bool { return covers(e, b.Prefix) }) {
			errs = append(errs, field.Errorf(path, "exclude_routes keeps %s away from this device", b.Prefix))
		}
	}
	for _, p := range s.capture.Bindings.Prefixes() {
		if !slices.ContainsFunc(s.plan.Routes, func(r host.Route) bool { return covers(r.Prefix, p) }) {
			s.plan.Routes = append(s.plan.Routes, host.Route{Prefix: p})
		}
	}
	return field.Join(errs...)
}

// covers reports whether every address of b is in a.
func covers(a, b netip.Prefix) bool { return a.Bits() <= b.Bits() && a.Contains(b.Addr()) }

// withoutDevice refuses what only a device has.
func withoutDevice(m *culvertv1.Tun) error {
	var errs []error
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"addresses", len(m.GetAddresses()) > 0}, {"mtu", m.GetMtu() != 0},
		{"routes", len(m.GetRoutes()) > 0}, {"exclude_routes", len(m.GetExcludeRoutes()) > 0},
		{"tcp_listener", m.GetTcpListener() != ""}, {"netns", m.GetNetns() != ""},
		{"queue_length", m.GetQueueLength() != 0}, {"table", m.GetTable() != 0},
		{"rule_priority", m.GetRulePriority() != 0}, {"mark", m.GetMark() != 0},
		{"max_pending_connects", m.GetMaxPendingConnects() != 0},
		{"max_pending_connects_per_source", m.GetMaxPendingConnectsPerSource() != 0},
		{"max_flows", m.GetMaxFlows() != 0},
	} {
		if f.set {
			errs = append(errs, field.Errorf(f.name, "belongs to a device, and with device: NONE there is none"))
		}
	}
	return field.Join(errs...)
}

// bound finds who serves an address inside a netstack of this generation.
func (b *builder) bound(to netip.AddrPort) (network.Handler, bool) {
	return b.bindings.Handler(to, b.a.registry.Lookup)
}

// bindAll joins what all netstacks bind: payload of a tunnel comes from no
// device, so that it meets all of them.
func (b *builder) bindAll() error {
	internal := make(map[string]bool)
	for _, m := range b.g.doc.Bootstrap.GetStaticResources().GetListeners() {
		internal[m.GetName()] = internal[m.GetName()] || m.GetInternalListener() != nil
	}
	var all []netstack.Binding
	var errs []error
	for _, spec := range b.g.tuns {
		for i, x := range spec.bindings {
			path := field.Index(spec.path+".netstack_listeners", i)
			if !internal[x.Listener] {
				errs = append(errs, field.Errorf(path+".listener", "there is no internal listener %q", x.Listener))
			}
			j := slices.IndexFunc(all, func(o netstack.Binding) bool { return o.Prefix == x.Prefix && o.Port == x.Port })
			switch {
			case j < 0:
				all = append(all, x)
			case all[j].Listener != x.Listener:
				errs = append(errs, field.Errorf(path, "%s port %d is bound to listener %q already, by another netstack: what comes out of a tunnel could mean either",
					x.Prefix, x.Port, all[j].Listener))
			}
		}
	}
	var err error
	if b.bindings, err = netstack.NewBindings(all); err != nil {
		b.bindings = nil // said where each netstack was read
	}
	return field.Join(errs...)
}
