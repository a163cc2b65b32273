package appliance

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// ownTTL is how long the list of this machine's addresses is good: an address
// that came a moment ago is protected a moment later.
const ownTTL = time.Second

// ownAddresses is this machine's addresses, asked of the kernel at most once a
// second: a client may not choose them as its target.
type ownAddresses struct {
	mu    sync.Mutex
	until time.Time
	list  []netip.Prefix
}

// localAddresses lists them as host prefixes, and those of our devices, which
// may be in another namespace. If the kernel does not say, the last list stands.
func (a *Appliance) localAddresses() []netip.Prefix {
	o := &a.own
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if now.Before(o.until) {
		return o.list
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return o.list
	}
	o.list, o.until = slices.Clone(a.tunAddresses), now.Add(ownTTL)
	for _, x := range addrs {
		n, ok := x.(*net.IPNet)
		if !ok {
			continue
		}
		if ip, ok := netip.AddrFromSlice(n.IP); ok {
			ip = ip.Unmap()
			o.list = append(o.list, netip.PrefixFrom(ip, ip.BitLen()))
		}
	}
	return o.list
}
