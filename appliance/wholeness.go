package appliance

import (
	"net"
	"net/netip"
	"strings"

	"culvert/appliance/admin"
	"culvert/configs/field"
	"culvert/proxy/network"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

// admin reads where the admin listens; absent, there is none.
func (b *builder) admin(m *bootstrapv3.Admin) (err error) {
	if b.g.allowed, err = admin.NewPaths(m.GetAllowPaths()); err != nil {
		return field.At("admin", err)
	}
	if m.GetAddress() == nil {
		return nil
	}
	if p := m.GetAddress().GetPipe(); p != nil {
		b.g.admin = network.PipeAddress(p.GetPath())
		if strings.HasPrefix(p.GetPath(), "@") {
			return field.Errorf("admin.address.pipe.path", "an abstract socket is open to every user of this host: use a path")
		}
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

// wholeness finds what no single constructor can see: names and addresses that
// are there twice, names that lead nowhere, and a capture that would capture
// culvert itself.
func (b *builder) wholeness() error {
	list := b.g.doc.Bootstrap.GetStaticResources().GetListeners()
	return field.Join(field.At("static_resources.listeners", distinct(list)), b.tunsHold(list), b.bindAll())
}

// distinct finds listeners that shadow each other, in Envoy's words.
func distinct(list []*listenerv3.Listener) error {
	var errs []error
	names := make(map[string]bool)
	addresses := make(map[string]bool)
	for i, m := range list {
		if name := m.GetName(); name != "" {
			if names[name] {
				errs = append(errs, field.Errorf(field.Index("", i)+".name", "error adding listener: there is a listener '%s' already", name))
			}
			names[name] = true
		}
		address, bound := boundAddress(m)
		if !bound {
			continue
		}
		if addresses[address] {
			errs = append(errs, field.Errorf(field.Index("", i)+".address",
				"error adding listener: '%s' has duplicate address '%s' as existing listener", m.GetName(), address))
		}
		addresses[address] = true
	}
	return field.Join(errs...)
}

// boundAddress is where the listener shall be; port 0 is never twice the same.
func boundAddress(m *listenerv3.Listener) (address string, bound bool) {
	if m.GetBindToPort() != nil && !m.GetBindToPort().GetValue() {
		return "", false
	}
	if p := m.GetAddress().GetPipe(); p != nil {
		return p.GetPath(), true
	}
	s := m.GetAddress().GetSocketAddress()
	ip, err := netip.ParseAddr(s.GetAddress())
	if err != nil || s.GetPortValue() == 0 {
		return "", false
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(s.GetPortValue())).String(), true
}

// tunsHold checks each TUN against the rest of the configuration.
func (b *builder) tunsHold(listeners []*listenerv3.Listener) error {
	internal := make(map[string]bool)
	for _, m := range listeners {
		internal[m.GetName()] = internal[m.GetName()] || m.GetInternalListener() != nil
	}
	var errs []error
	var marked uint32
	for _, spec := range b.g.tuns {
		if name := spec.capture.TCPListener; name != "" && !internal[name] {
			errs = append(errs, field.Errorf(spec.path+".tcp_listener", "there is no internal listener %q", name))
		}
		if marked != 0 && spec.mark != 0 && spec.mark != marked {
			errs = append(errs, field.Errorf(spec.path+".mark", "another TUN has mark %#x: our own sockets can carry one", marked))
		}
		marked = max(marked, spec.mark)
		if spec.netns == "" { // another namespace may prove to be ours once it is opened
			errs = append(errs, field.At(spec.path, spec.loops(b.g.doc.Bootstrap.GetStaticResources().GetClusters())))
		}
	}
	return field.Join(errs...)
}
