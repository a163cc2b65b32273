package configs

import (
	"sort"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// quote quotes text of the file for an error, shortened.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strconv.Quote(s)
}

func formatSeconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 9, 64) }

// movedFields are fields of older configurations that went elsewhere.
func movedFields() map[string]string {
	const typed = `extensions are given as typed_config: {"@type": …}`
	const tls = "use transport_socket with UpstreamTlsContext or DownstreamTlsContext"
	return map[string]string{
		"envoy.config.cluster.v3.Cluster.hosts":                                                                          "use load_assignment",
		"envoy.config.cluster.v3.Cluster.tls_context":                                                                    tls,
		"envoy.config.listener.v3.FilterChain.tls_context":                                                               tls,
		"envoy.config.listener.v3.Listener.filters":                                                                      "put filters into filter_chains",
		"envoy.config.listener.v3.Filter.config":                                                                         typed,
		"envoy.config.listener.v3.ListenerFilter.config":                                                                 typed,
		"envoy.config.accesslog.v3.AccessLog.config":                                                                     typed,
		"envoy.config.bootstrap.v3.Bootstrap.listeners":                                                                  "put it into static_resources",
		"envoy.config.bootstrap.v3.Bootstrap.clusters":                                                                   "put it into static_resources",
		"envoy.config.bootstrap.v3.Bootstrap.runtime":                                                                    "use layered_runtime",
		"envoy.config.core.v3.Address.address":                                                                           "use socket_address: {address, port_value}",
		"envoy.config.core.v3.SocketAddress.port":                                                                        "use port_value",
		"envoy.config.route.v3.Route.cluster":                                                                            "put it into route: {cluster}",
		"envoy.config.route.v3.Route.prefix":                                                                             "put it into match: {prefix}",
		"envoy.config.route.v3.RouteMatch.regex":                                                                         "use safe_regex: {regex}",
		"envoy.config.route.v3.RouteAction.connect_config":                                                               "put it into upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]",
		"envoy.config.route.v3.RouteAction.host_rewrite":                                                                 "use host_rewrite_literal",
		"envoy.config.core.v3.TypedExtensionConfig.config":                                                               typed,
		"envoy.config.core.v3.TransportSocket.config":                                                                    typed,
		"envoy.config.cluster.v3.Cluster.http_protocol_options":                                                          "use typed_extension_protocol_options",
		"envoy.config.cluster.v3.Cluster.http2_protocol_options":                                                         "use typed_extension_protocol_options",
		"envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter.config":                                  typed,
		"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig.connect_config": "it belongs to the route's upgrade_configs",
	}
}

// typeFix says what a type that does not exist was probably meant to be.
func typeFix(full string) string {
	if strings.Contains(full, ".v2.") || strings.Contains(full, ".v2alpha.") {
		return "Envoy's v2 API is gone; use the v3 type of the same name"
	}
	var names []string
	protoregistry.GlobalTypes.RangeMessages(func(mt protoreflect.MessageType) bool {
		if name := string(mt.Descriptor().FullName()); abs(len(name)-len(full)) <= 3 {
			names = append(names, name)
		}
		return true
	})
	sort.Strings(names)
	if near := nearest(full, names); near != "" {
		return "did you mean " + near + "?"
	}
	return ""
}

// nearest is the candidate that differs from s by the fewest edits: at most one
// for each three characters, and three; "" if there is none.
func nearest(s string, candidates []string) string {
	if len(s) > 256 {
		return ""
	}
	best, at := "", min(3, len(s)/3)+1
	for _, c := range candidates {
		if abs(len(c)-len(s)) >= at {
			continue
		}
		if n := edits(strings.ToLower(s), strings.ToLower(c)); n < at {
			best, at = c, n
		}
	}
	return best
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

func abs(n int) int { return max(n, -n) }
