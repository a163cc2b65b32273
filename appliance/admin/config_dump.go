package admin

import (
	"fmt"
	"net/http"
	"regexp"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// pageError is an answer that is none.
type pageError struct {
	code int
	text string
}

func (e *pageError) Error() string { return e.text }

func pageErrorf(code int, format string, args ...any) *pageError {
	return &pageError{code, fmt.Sprintf(format, args...)}
}

func configDumpPage(d Deps) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		name, err := regexp.Compile(`^(?:` + q.Get("name_regex") + `)$`)
		if err != nil {
			http.Error(w, "name_regex: "+err.Error(), http.StatusBadRequest)
			return
		}
		if q.Get("name_regex") == "" {
			name = nil
		}
		dump, failed := configDump(d, name, q.Get("resource"), q.Get("mask"))
		if failed != nil {
			http.Error(w, failed.text, failed.code)
			return
		}
		writeProto(w, dump)
	}
}

func configDump(d Deps, name *regexp.Regexp, resource, mask string) (*adminv3.ConfigDump, *pageError) {
	parts, err := dumpParts(d, name)
	if err != nil {
		return nil, pageErrorf(http.StatusInternalServerError, "%v", err)
	}
	if resource != "" {
		var failed *pageError
		if parts, failed = resources(parts, resource); failed != nil {
			return nil, failed
		}
	}
	if mask != "" && len(parts) > 0 {
		if parts = masked(parts, mask); len(parts) == 0 {
			return nil, pageErrorf(http.StatusBadRequest, "mask %s names no field of what is dumped", mask)
		}
	}
	dump := new(adminv3.ConfigDump)
	for _, m := range parts {
		a, err := anypb.New(m)
		if err != nil {
			return nil, pageErrorf(http.StatusInternalServerError, "%v", err)
		}
		dump.Configs = append(dump.Configs, a)
	}
	return dump, nil
}

// dumpParts is the configuration without secrets, in Envoy's parts; of what has
// a name only what name matches, nil for all.
func dumpParts(d Deps, name *regexp.Regexp) ([]proto.Message, error) {
	config, came := d.Config()
	b := proto.CloneOf(config)
	redact(b)
	p := packer{name: name, at: timestamppb.New(came.Truncate(time.Millisecond))}
	res := b.GetStaticResources()
	for _, c := range res.GetClusters() {
		p.cluster(c)
	}
	for _, l := range res.GetListeners() {
		p.listener(l)
	}
	return []proto.Message{
		&adminv3.BootstrapConfigDump{Bootstrap: b, LastUpdated: p.at},
		&p.clusters, &p.listeners, &p.routes,
	}, p.err
}

// packer sorts a configuration into its parts.
type packer struct {
	name *regexp.Regexp
	at   *timestamppb.Timestamp
	err  error // the first

	clusters  adminv3.ClustersConfigDump
	listeners adminv3.ListenersConfigDump
	routes    adminv3.RoutesConfigDump
}

func (p *packer) wants(name string) bool { return p.name == nil || p.name.MatchString(name) }

func (p *packer) pack(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil && p.err == nil {
		p.err = err
	}
	return a
}

func (p *packer) cluster(c *clusterv3.Cluster) {
	if p.wants(c.GetName()) {
		p.clusters.StaticClusters = append(p.clusters.StaticClusters,
			&adminv3.ClustersConfigDump_StaticCluster{Cluster: p.pack(c), LastUpdated: p.at})
	}
}

func (p *packer) listener(l *listenerv3.Listener) {
	if p.wants(l.GetName()) {
		p.listeners.StaticListeners = append(p.listeners.StaticListeners,
			&adminv3.ListenersConfigDump_StaticListener{Listener: p.pack(l), LastUpdated: p.at})
	}
	chains := l.GetFilterChains()
	if l.GetDefaultFilterChain() != nil {
		chains = append(chains[:len(chains):len(chains)], l.GetDefaultFilterChain())
	}
	for _, c := range chains {
		for _, f := range c.GetFilters() {
			if m := new(hcmv3.HttpConnectionManager); f.GetTypedConfig().MessageIs(m) && f.GetTypedConfig().UnmarshalTo(m) == nil {
				p.route(m.GetRouteConfig())
			}
		}
	}
}

func (p *packer) route(rc *routev3.RouteConfiguration) {
	if rc != nil && p.wants(rc.GetName()) {
		p.routes.StaticRouteConfigs = append(p.routes.StaticRouteConfigs,
			&adminv3.RoutesConfigDump_StaticRouteConfig{RouteConfig: p.pack(rc), LastUpdated: p.at})
	}
}

// resources are the elements of the field of that name.
func resources(parts []proto.Message, field string) ([]proto.Message, *pageError) {
	for _, part := range parts {
		m := part.ProtoReflect()
		fd := m.Descriptor().Fields().ByName(protoreflect.Name(field))
		switch {
		case fd == nil:
			continue
		case !fd.IsList() || fd.Message() == nil:
			return nil, pageErrorf(http.StatusBadRequest, "%s is not a repeated field. Use ?mask=%s to get only this field", field, field)
		}
		out := []proto.Message{}
		for i := range m.Get(fd).List().Len() {
			out = append(out, m.Get(fd).List().Get(i).Message().Interface())
		}
		return out, nil
	}
	return nil, pageErrorf(http.StatusNotFound, "%s not found in config dump", field)
}
