package hcm

import (
	"errors"
	"strings"
	"testing"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"culvert/configs/field"
	"culvert/proxy/codec"
)

func TestConfigErrors(t *testing.T) {
	router := `typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}`
	const tail = " must be the last filter in a http"
	for _, c := range []struct{ name, config, path, text string }{
		{"M13 router not last", "http_filters: [{name: router, " + router + "}, {name: a}]", "http_filters[0]",
			"Error: terminal filter named router of type envoy.extensions.filters.http.router.v3.Router" + tail + " filter chain."},
		{"M13 no router", "http_filters: [{name: a}]", "http_filters[0]",
			"Error: non-terminal filter named a of type  is the last filter in a http filter chain."},
		{"M13 no filters", "http_filters: []", "http_filters", "no filter answers requests (add envoy.filters.http.router)"},
		{"M13 in an upgrade", "upgrade_configs: [{upgrade_type: foo, filters: [{name: router}, {name: a}]}]", "upgrade_configs[0].filters[0]",
			tail + " upgrade filter chain."},
		{"M02 duplicate upgrade", "upgrade_configs: [{upgrade_type: foo}, {upgrade_type: Foo}]", "upgrade_configs[1].upgrade_type",
			"Error: multiple upgrade configs with the same name: 'Foo'"},
		{"M15 duplicate domains", "route_config: {name: r, virtual_hosts: [{name: v, domains: [a, a]}]}", "route_config.virtual_hosts[0].domains[1]",
			"Only unique values for domains are permitted."},
		{"HTTP/3", "codec_type: HTTP3", "codec_type", "HTTP3 downstream is not supported yet"},
		{"bad filter", "http_filters: [{name: broken}, {name: router}]", "http_filters[0].typed_config", "broken filter"},
		{"no routes", "rds: {route_config_name: x, config_source: {ads: {}}}", "", "route_config is needed"},
		{"unknown cluster", "route_config: {name: r, virtual_hosts: [{name: v, domains: ['*'], routes: [{match: {prefix: /}, route: {cluster: x}}]}]}",
			"route_config.virtual_hosts[0].routes[0].route.cluster", "route: unknown cluster 'x'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := c.config
			for key, value := range map[string]string{
				"stat_prefix": "in", "route_config": "{name: r}", "http_filters": "[{name: router}]",
			} {
				if !strings.Contains(text, key+":") && !(key == "route_config" && strings.HasPrefix(text, "rds")) {
					text += "\n" + key + ": " + value
				}
			}
			pass := filterFunc(nil)
			d := deps(t, nil, map[string]codec.Filter{"a": pass})
			build := d.Filter
			d.HasCluster = func(string) bool { return false }
			d.Filter = func(f *hcmv3.HttpFilter) (codec.Filter, error) {
				if f.GetName() == "broken" {
					return nil, field.At("typed_config", errors.New("broken filter"))
				}
				return build(f)
			}
			_, err := New(manager(t, text), d)
			all := field.All(err)
			if len(all) != 1 || all[0].Path != c.path || !strings.Contains(all[0].Error(), c.text) {
				t.Errorf("got %v\nwant %s: …%s…", err, c.path, c.text)
			}
		})
	}
}

// What is declared as honoured must exist, or the declaration protects nobody.
func TestHonouredFieldsExist(t *testing.T) {
	for name, fields := range Honoured() {
		mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for f := range strings.FieldsSeq(fields) {
			if mt.Descriptor().Fields().ByName(protoreflect.Name(f)) == nil {
				t.Errorf("%s has no field %s", name, f)
			}
		}
	}
}
