package route

import (
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"culvert/configs/field"
	"culvert/proxy/transport/proxyprotocol"
)

// Upgrade is what a route says of one upgrade type.
type Upgrade struct {
	Enabled bool
	// Connect is set where the upgrade ends here: its payload goes to the
	// cluster as raw TCP.
	Connect *Connect
}

// Connect is a compiled connect_config.
type Connect struct {
	// AllowPost terminates a POST as if it were a CONNECT.
	AllowPost bool
	// ProxyHeader makes what the far half reads first; nil: nothing.
	ProxyHeader *proxyprotocol.Encoder
}

// TypeConnect is the upgrade type of a CONNECT without a protocol.
const TypeConnect = "CONNECT"

func newUpgrades(list []*routev3.RouteAction_UpgradeConfig) (map[string]*Upgrade, error) {
	out := make(map[string]*Upgrade, len(list))
	var errs []error
	for i, u := range list {
		kind := strings.ToLower(u.GetUpgradeType())
		at := field.Index("upgrade_configs", i)
		if out[kind] != nil {
			errs = append(errs, field.Errorf(at+".upgrade_type", "Duplicate upgrade %s", u.GetUpgradeType()))
			continue
		}
		up := &Upgrade{Enabled: u.GetEnabled() == nil || u.GetEnabled().Value}
		out[kind] = up
		cc := u.GetConnectConfig()
		if cc == nil {
			continue
		}
		up.Connect = &Connect{AllowPost: cc.GetAllowPost()}
		if pp := cc.GetProxyProtocolConfig(); pp != nil {
			var err error
			up.Connect.ProxyHeader, err = proxyprotocol.NewEncoder(pp)
			errs = append(errs, field.At(at+".connect_config.proxy_protocol_config", err))
		}
		switch kind {
		case "connect":
		case "connect-udp":
			errs = append(errs, field.Errorf(at+".connect_config", "terminating CONNECT-UDP is not supported yet"))
		default:
			errs = append(errs, field.Errorf(at+".connect_config", "Non-CONNECT upgrade type %s has ConnectConfig", u.GetUpgradeType()))
		}
	}
	return out, field.Join(errs...)
}

func (f *Forward) upgradeFor(kind string) *Upgrade { return f.upgrades[strings.ToLower(kind)] }

// Terminates is the connect_config that makes a request end here, nil if it is
// forwarded: a CONNECT, or a POST where allow_post says so.
func (f *Forward) Terminates(method, protocol string) *Connect {
	u := f.upgradeFor(TypeConnect)
	switch {
	case u == nil || !u.Enabled || u.Connect == nil:
		return nil
	case method == "CONNECT" && protocol == "":
		return u.Connect
	case method == "POST" && u.Connect.AllowPost:
		return u.Connect
	}
	return nil
}
