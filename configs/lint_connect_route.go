package configs

import (
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
)

// lintConnectRoutes finds routes for CONNECT that no CONNECT reaches: it has no
// path, so only connect_matcher matches it; requests get 404.
func lintConnectRoutes(b *bootstrapv3.Bootstrap) []error {
	var found []error
	for _, m := range managers(b) {
		for _, r := range m.routes() {
			u := r.connectUpgrade()
			if u == nil || u.GetConnectConfig().GetAllowPost() || r.matchesConnect() {
				continue
			}
			found = append(found, suspicion(r.path+".match", "match: {connect_matcher: {}}",
				"this route of %s is for CONNECT, which has no path and matches connect_matcher only", r.name()))
		}
	}
	return found
}
