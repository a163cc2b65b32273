package appliance

import (
	"net"
	"net/netip"

	"culvert/appliance/admin"
	"culvert/configs/field"
	"culvert/proxy/network"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
)

// admin reads where the admin listens; absent, there is none.
func (b *builder) admin(m *bootstrapv3.Admin) error {
	if m.GetAddress() == nil {
		return nil
	}
	if p := m.GetAddress().GetPipe(); p != nil {
		b.g.admin = network.PipeAddress(p.GetPath())
		return nil
	}
	s := m.GetAddress().GetSocketAddress()
	ip, err := netip.ParseAddr(s.GetAddress())
	if err != nil {
		return field.Errorf("admin.address", "want socket_address with an IP address, or pipe")
	}
	a := network.IPAddress(netip.AddrPortFrom(ip, uint16(s.GetPortValue())))
	if err := admin.CheckAddress(net.TCPAddrFromAddrPort(a.IP)); err != nil {
		return field.At("admin.address.socket_address.address", err)
	}
	b.g.admin = a
	return nil
}

// wholeness finds what no single constructor can see: names that lead nowhere,
// and a capture that would capture culvert itself.
func (b *builder) wholeness() error {
	var errs []error
	internal := make(map[string]bool)
	for _, m := range b.g.doc.Bootstrap.GetStaticResources().GetListeners() {
		if m.GetInternalListener() != nil {
			internal[m.GetName()] = true
		}
	}
	for i, e := range b.g.doc.Bootstrap.GetBootstrapExtensions() {
		spec := b.tunOf(e.GetTypedConfig().MessageName() == "culvert.v1.Tun", i)
		if spec == nil {
			continue
		}
		path := field.Index("bootstrap_extensions", i) + ".typed_config"
		if name := spec.capture.TCPListener; name != "" && !internal[name] {
			errs = append(errs, field.Errorf(path+".tcp_listener", "there is no internal listener %q", name))
		}
		errs = append(errs, field.At(path+".routes", b.loops(spec)))
	}
	return field.Join(errs...)
}

// tunOf finds the compiled spec of the extension at index i.
func (b *builder) tunOf(isTun bool, i int) *tunSpec {
	if !isTun {
		return nil
	}
	n := 0
	for j := range i {
		if b.g.doc.Bootstrap.GetBootstrapExtensions()[j].GetTypedConfig().MessageName() == "culvert.v1.Tun" {
			n++
		}
	}
	if n >= len(b.g.tuns) {
		return nil // it did not compile: that error is told already
	}
	return b.g.tuns[n]
}

// loops finds endpoints whose own connections would enter the TUN.
func (b *builder) loops(spec *tunSpec) error {
	for _, c := range b.g.doc.Bootstrap.GetStaticResources().GetClusters() {
		for _, l := range c.GetLoadAssignment().GetEndpoints() {
			for _, e := range l.GetLbEndpoints() {
				s := e.GetEndpoint().GetAddress().GetSocketAddress()
				ip, err := netip.ParseAddr(s.GetAddress())
				if err == nil && !ip.IsLoopback() && spec.captured(ip) {
					return field.WithFix(field.Errorf("", "culvert's own connections to %v of cluster %q would enter this TUN", ip, c.GetName()),
						"exclude it with exclude_routes, set table and mark, or make the device in a netns")
				}
			}
		}
	}
	return nil
}
