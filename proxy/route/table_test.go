package route

import (
	"errors"
	"strings"
	"testing"

	"culvert/configs/field"
)

func TestVirtualHostSearchOrder(t *testing.T) {
	var hosts []string
	for _, d := range []string{"a.foo.com", "*.foo.com", "*foo.com", "a.*", "a.foo.*", "*", "b.com:443", "[::1]:80"} {
		hosts = append(hosts, `{"name":"`+d+`","domains":["`+d+`"],"routes":[{"match":{"connect_matcher":{}},"route":{"cluster":"c"}}]}`)
	}
	tab := table(t, `{"virtual_hosts":[`+strings.Join(hosts, ",")+`]}`)
	for authority, want := range map[string]string{
		"a.foo.com":   "a.foo.com",
		"A.FOO.com":   "a.foo.com",
		"b.foo.com":   "*.foo.com",
		"c.b.foo.com": "*.foo.com",
		"xfoo.com":    "*foo.com",
		"foo.com":     "*", // the wildcard stands for one character at least
		"a.foo.net":   "a.foo.*",
		"a.bar":       "a.*",
		"a.":          "*",
		"b.com:443":   "b.com:443",
		"b.com":       "*",
		"[::1]:80":    "[::1]:80",
		"":            "*",
	} {
		d := tab.Match(connect(authority), 0)
		if d == nil || d.VirtualHost != want {
			t.Errorf("%q: %+v, want virtual host %q", authority, d, want)
		}
	}
}

func TestD07DomainWithPort(t *testing.T) {
	const route = `"routes":[{"name":"x","match":{"connect_matcher":{}},"route":{"cluster":"c"}}]`
	for domain, want := range map[string]string{"foo.lyft.com:80": "x", "foo.lyft.com": "-"} {
		tab := table(t, `{"virtual_hosts":[{"name":"v","domains":["`+domain+`"],`+route+`}]}`)
		if got := routeName(tab, connect("foo.lyft.com:80")); got != want {
			t.Errorf("domain %s: route %q, want %q", domain, got, want)
		}
	}
	tab := table(t, `{"ignore_port_in_host_matching":true,"virtual_hosts":[{"name":"v","domains":["foo.lyft.com","[::1]"],`+route+`}]}`)
	for _, authority := range []string{"foo.lyft.com:80", "foo.lyft.com", "[::1]:80", "[::1]"} {
		if got := routeName(tab, connect(authority)); got != "x" {
			t.Errorf("ignoring the port of %s: route %q", authority, got)
		}
	}
}

func TestWeightedClusters(t *testing.T) {
	tab := routes(t, `{"match":{"prefix":"/"},"route":{"weighted_clusters":{"clusters":[
		{"name":"a","weight":1},{"name":"none","weight":0},{"name":"b","weight":3},{"cluster_header":"x-c","weight":1}]}}}`)
	count := map[string]int{}
	req := get("/")
	req.Header.Add("x-c", "named")
	for random := range uint64(10) {
		count[tab.Match(req, random).Cluster]++
	}
	if count["a"] != 2 || count["b"] != 6 || count["named"] != 2 || count["none"] != 0 {
		t.Errorf("picked %v, want a:2 b:6 named:2", count)
	}
}

func TestClusterHeader(t *testing.T) {
	tab := routes(t, `{"match":{"prefix":"/"},"route":{"cluster_header":"x-c"}}`)
	req := get("/")
	if got := tab.Match(req, 7).Cluster; got != "" {
		t.Errorf("missing header: cluster %q", got)
	}
	req.Header.Add("x-c", "edge")
	if got := tab.Match(req, 7).Cluster; got != "edge" {
		t.Errorf("cluster %q, want edge", got)
	}
}

// Configurations that are wrong, each with the path and the text an operator
// looks for.
func TestConfigErrors(t *testing.T) {
	const action = `"route":{"cluster":"c"}`
	host := func(domains, routes string) string {
		return `{"name":"r","virtual_hosts":[{"name":"v","domains":` + domains + `,"routes":[` + routes + `]}]}`
	}
	route := func(action string) string { return host(`["*"]`, `{"match":{"connect_matcher":{}},`+action+`}`) }
	for _, c := range []struct {
		name, config, path, text string
	}{
		{"M15 duplicate domain", host(`["a.com","A.com"]`, ""), "virtual_hosts[0].domains[1]",
			"Only unique values for domains are permitted. Duplicate entry of domain A.com in route r"},
		{"M15 duplicate suffix", host(`["*.a","*.a"]`, ""), "virtual_hosts[0].domains[1]",
			"Only unique values for domains are permitted. Duplicate entry of domain *.a in route r"},
		{"M15 two wildcards", host(`["*","*"]`, ""), "virtual_hosts[0].domains[1]",
			"Only a single wildcard domain is permitted in route r"},
		{"wildcard inside", host(`["a.*.com"]`, ""), "virtual_hosts[0].domains[0]", "first or the last character"},
		{"M02 duplicate upgrade", route(`"route":{"cluster":"c","upgrade_configs":[{"upgrade_type":"foo"},{"upgrade_type":"FOO"}]}`),
			"virtual_hosts[0].routes[0].route.upgrade_configs[1].upgrade_type", "Duplicate upgrade FOO"},
		{"M03 connect_config on websocket", route(`"route":{"cluster":"c","upgrade_configs":[{"upgrade_type":"websocket","connect_config":{}}]}`),
			"virtual_hosts[0].routes[0].route.upgrade_configs[0].connect_config", "Non-CONNECT upgrade type websocket has ConnectConfig"},
		{"unknown cluster", route(`"route":{"cluster":"nope"}`), "virtual_hosts[0].routes[0].route.cluster", "route: unknown cluster 'nope'"},
		{"no action", host(`["*"]`, `{"match":{"prefix":"/"}}`), "virtual_hosts[0].routes[0]", "action"},
		{"no match", host(`["*"]`, `{"match":{},`+action+`}`), "virtual_hosts[0].routes[0].match", "connect_matcher"},
		{"bad regex", host(`["*"]`, `{"match":{"safe_regex":{"regex":"("}},`+action+`}`),
			"virtual_hosts[0].routes[0].match.safe_regex.regex", "missing closing"},
		{"weights", route(`"route":{"weighted_clusters":{"clusters":[{"name":"c","weight":0}]}}`),
			"virtual_hosts[0].routes[0].route.weighted_clusters.clusters", "greater than 0"},
		{"body too large", route(`"direct_response":{"status":200,"body":{"inline_string":"` + strings.Repeat("x", 4097) + `"}}`),
			"virtual_hosts[0].routes[0].direct_response.body", "response body size is 4097 bytes; maximum is 4096"},
		{"body file", route(`"direct_response":{"status":200,"body":{"filename":"/nowhere"}}`),
			"virtual_hosts[0].routes[0].direct_response.body.filename", "no such file"},
		{"body from environment", route(`"direct_response":{"status":200,"body":{"environment_variable":"X"}}`),
			"virtual_hosts[0].routes[0].direct_response.body", "inline_string"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := Deps{
				HasCluster: func(name string) bool { return name == "c" },
				ReadFile:   func(string) ([]byte, error) { return nil, errors.New("no such file") },
			}
			_, err := New(config(t, c.config), d)
			all := field.All(err)
			if len(all) != 1 {
				t.Fatalf("errors %v, want one", err)
			}
			if all[0].Path != c.path || !strings.Contains(all[0].Error(), c.text) {
				t.Errorf("got %s: %v\nwant %s: …%s…", all[0].Path, all[0].Err, c.path, c.text)
			}
		})
	}
}

func TestUnknownClusterAllowed(t *testing.T) {
	rc := config(t, `{"validate_clusters":false,"virtual_hosts":[{"name":"v","domains":["*"],"routes":[
		{"match":{"prefix":"/"},"route":{"cluster":"nope"}}]}]}`)
	if _, err := New(rc, Deps{HasCluster: func(string) bool { return false }}); err != nil {
		t.Errorf("validate_clusters false: %v", err)
	}
}
