package configstest

import (
	"slices"
	"strings"
	"testing"

	"culvert/configs"
	"culvert/configs/field"
)

func declared() field.Honoured {
	return field.Honoured{
		"envoy.config.bootstrap.v3.Bootstrap":                    "static_resources admin",
		"envoy.config.bootstrap.v3.Bootstrap.StaticResources":    "listeners",
		"envoy.config.listener.v3.Listener":                      "name filter_chains",
		"envoy.config.listener.v3.FilterChain":                   "",
		"envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy": "stat_prefix cluster",
		"culvert.v1.Tun": "name mtu",
	}
}

func TestRefusesUndeclared(t *testing.T) { RefusesUndeclared(t, declared()) }

// TestComplains proves that the helper can fail: on a Check that refuses
// nothing, and on one that refuses everything.
func TestComplains(t *testing.T) {
	h := field.Honoured{"culvert.v1.NetstackListener": "address port"}
	tests := []struct {
		name  string
		check func(*configs.Document, field.Honoured) error
		want  []string
	}{
		{"right", (*configs.Document).Check, nil},
		{
			"lenient", func(*configs.Document, field.Honoured) error { return nil },
			[]string{"culvert.v1.NetstackListener.listener: refused is false, want true"},
		},
		{
			"strict", func(d *configs.Document, _ field.Honoured) error {
				return d.Check(field.Honoured{
					"envoy.config.bootstrap.v3.Bootstrap":       "bootstrap_extensions",
					"envoy.config.core.v3.TypedExtensionConfig": "name typed_config",
					"culvert.v1.NetstackListener":               "",
				})
			},
			[]string{
				"culvert.v1.NetstackListener.address: refused is true, want false",
				"culvert.v1.NetstackListener.port: refused is true, want false",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := complaints(h, "culvert.v1.NetstackListener", tt.check); !slices.Equal(got, tt.want) {
				t.Errorf("complaints %q, want %q", got, tt.want)
			}
		})
	}
}

func TestFieldTable(t *testing.T) {
	table, err := configs.FieldTable(declared())
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"## culvert.v1.Tun",
		"| `mtu` | uint32 | honoured |",
		"| `routes` | list of string | load error |",
		"| `node` | Node | accepted, no effect |",
		"| `listeners` | list of Listener | honoured |",
	} {
		if !slices.Contains(strings.Split(table, "\n"), line) {
			t.Errorf("no line %q in\n%s", line, table)
		}
	}
	_, err = configs.FieldTable(field.Honoured{"culvert.v1.Tun": "mtv", "culvert.v1.Tunn": ""})
	if err == nil || !strings.Contains(err.Error(), "no field mtv") || !strings.Contains(err.Error(), "no message is called culvert.v1.Tunn") {
		t.Errorf("error %v", err)
	}
}
