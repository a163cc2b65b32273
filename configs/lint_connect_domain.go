package configs

import (
	"net"
	"strings"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"

	"culvert/configs/field"
)

// lintConnectDomains finds domains that no CONNECT matches, because its
// authority ends in a port: example.com is not example.com:443.
func lintConnectDomains(b *bootstrapv3.Bootstrap) []error {
	var found []error
	for _, m := range managers(b) {
		if m.hcm.GetStripMatchingHostPort() || m.hcm.GetStripAnyHostPort() || m.hcm.GetRouteConfig().GetIgnorePortInHostMatching() {
			continue
		}
		done := make(map[string]bool)
		for _, r := range m.routes() {
			if !r.matchesConnect() || done[r.hostPath] {
				continue
			}
			done[r.hostPath] = true
			for i, domain := range r.host.GetDomains() {
				if strings.HasSuffix(domain, "*") || hasPort(domain) {
					continue
				}
				found = append(found, suspicion(field.Index(r.hostPath+".domains", i), "write "+domain+":443, or the port it is for",
					"%s serves CONNECT, whose authority has a port, and the domain %q has none", r.name(), domain))
			}
		}
	}
	return found
}

func hasPort(domain string) bool {
	_, port, err := net.SplitHostPort(domain)
	return err == nil && port != ""
}
