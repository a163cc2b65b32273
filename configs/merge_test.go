package configs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"culvert/configs/field"
)

const mergeBase = `node: {id: base, cluster: kept, metadata: {a: 1, b: {x: 1}}}
admin:
  address: {socket_address: {address: 127.0.0.1, port_value: 9901}}
bootstrap_extensions:
- name: one
  typed_config: {"@type": type.googleapis.com/culvert.v1.Tun, name: tun0, mtu: 1400}
static_resources:
  clusters:
  - name: base
`

const mergeOverride = `node: {id: override, metadata: {b: {y: 2}}}
admin:
  address: {socket_address: {port_value: 9999}}
stats_flush_interval: 2s
static_resources:
  clusters:
  - name: added
    connect_timeout: 1s
`

func loadOver(t *testing.T, base, override string) (*Document, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "base.yaml")
	if err := os.WriteFile(path, []byte(base), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(Source{Path: path, YAML: override})
}

// TestOverride merges as proto.Merge does.
func TestOverride(t *testing.T) {
	got, err := loadOver(t, mergeBase, mergeOverride)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Load(Source{YAML: mergeBase})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load(Source{YAML: mergeOverride}); err == nil {
		t.Fatal("the override alone is a bootstrap: it would not show merging below an address")
	}
	// So it is decoded without the rules.
	l := newLoader("o.yaml")
	l.read("o.yaml", []byte(mergeOverride))
	proto.Merge(want.Bootstrap, l.doc.Bootstrap)
	if diff := cmp.Diff(dump(t, want.Bootstrap), dump(t, got.Bootstrap)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestOverrideLines: what came from the override is said to.
func TestOverrideLines(t *testing.T) {
	doc, err := loadOver(t, mergeBase, mergeOverride)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"static_resources.clusters[0].name":            "base.yaml:9",
		"static_resources.clusters[1].connect_timeout": "--config-yaml:8",
		"admin.address.socket_address.address":         "base.yaml:3",
		"admin.address.socket_address.port_value":      "--config-yaml:3",
		"bootstrap_extensions[0].typed_config.mtu":     "base.yaml:6",
		"stats_flush_interval":                         "--config-yaml:4",
	} {
		p := doc.At(path)
		p.File = filepath.Base(p.File)
		p.Message = "m"
		if got := strings.TrimSuffix(p.String(), ": "+path+": m"); got != want {
			t.Errorf("%s is at %s, want %s", path, got, want)
		}
	}
}

// TestOverrideReplaces: an extension and a member of a oneof are replaced.
func TestOverrideReplaces(t *testing.T) {
	const base = `static_resources: {clusters: [{name: c}]}
default_socket_interface: x
admin: {address: {socket_address: {address: a, port_value: 1}}}
typed_dns_resolver_config:
  name: d
  typed_config: {"@type": type.googleapis.com/culvert.v1.Tun, name: tun0, mtu: 1400}
`
	const over = `admin: {address: {pipe: {path: /p}}}
typed_dns_resolver_config:
  typed_config: {"@type": type.googleapis.com/culvert.v1.Tun, mtu: 1500}
`
	doc, err := loadOver(t, base, over)
	if err != nil {
		t.Fatal(err)
	}
	if got := doc.Bootstrap.GetAdmin().GetAddress(); got.GetSocketAddress() != nil || got.GetPipe().GetPath() != "/p" {
		t.Errorf("admin address %v", got)
	}
	m, err := doc.Bootstrap.GetTypedDnsResolverConfig().GetTypedConfig().UnmarshalNew()
	if err != nil {
		t.Fatal(err)
	}
	if text := dump(t, m); strings.Contains(text, "tun0") || !strings.Contains(text, "1500") {
		t.Errorf("extension %s", text)
	}
}

// TestOverrideErrors: problems of both texts are told, each with its own file.
func TestOverrideErrors(t *testing.T) {
	_, err := loadOver(t, "x: 1\nstatic_resources: {clusters: [{name: 1}]}\n", "y: 1\nstatic_resources: {clusters: [{connect_timeout: 0s}]}\n")
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"base.yaml:1: x: ", "base.yaml:2: static_resources.clusters[0].name: ", "--config-yaml:1: y: ",
		"--config-yaml:2: static_resources.clusters[1].name: Proto", "--config-yaml:2: static_resources.clusters[1].connect_timeout: Proto"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}

func TestSources(t *testing.T) {
	if _, err := Load(Source{}); err == nil {
		t.Error("nothing at all: no error")
	}
	if _, err := Load(Source{Path: filepath.Join(t.TempDir(), "absent.yaml")}); !os.IsNotExist(unwrapAll(err)) {
		t.Errorf("absent file: %v", err)
	}
	if _, err := Load(Source{Path: t.TempDir()}); err == nil {
		t.Error("directory: no error")
	}
}

func unwrapAll(err error) error {
	for {
		inner, ok := err.(interface{ Unwrap() error })
		if !ok || os.IsNotExist(err) {
			return err
		}
		err = inner.Unwrap()
	}
}

// TestNew validates what a program made, through Any.
func TestNew(t *testing.T) {
	packed, err := anypb.New(&clusterv3.Cluster{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bootstrapv3.Bootstrap{BootstrapExtensions: []*corev3.TypedExtensionConfig{{Name: "x", TypedConfig: packed}}}
	doc, err := New(b)
	const want = "bootstrap_extensions[0].typed_config.name: Proto constraint validation failed (name: value length must be at least 1 runes)"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if doc.Bootstrap != b || doc.Check(field.Honoured{}) == nil {
		t.Error("not the document of this bootstrap")
	}
}

// TestOptionalUnknown: an extension that says it is optional may not exist.
func TestOptionalUnknown(t *testing.T) {
	const text = `static_resources:
  listeners:
  - name: l
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: h
          route_config: {virtual_hosts: [{name: v, domains: ["*"]}]}
          http_filters:
          - name: ours
            is_optional: IS
            typed_config: {"@type": type.googleapis.com/example.com.Filter, x: 1}
`
	doc, err := Load(Source{YAML: strings.ReplaceAll(text, "IS", "true")})
	if err != nil {
		t.Fatal(err)
	}
	if len(doc.Warnings) != 1 || !strings.Contains(doc.Warnings[0].Message, "Didn't find a registered implementation for 'ours'") {
		t.Errorf("warnings %v", doc.Warnings)
	}
	if _, err := Load(Source{YAML: strings.ReplaceAll(text, "IS", "false")}); err == nil {
		t.Error("not optional: no error")
	}
}
