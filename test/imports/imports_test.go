// Package imports tests that imports point the way the architecture says.
package imports

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// onlyFrom lists outside packages that may be imported from few places.
var onlyFrom = []struct {
	imported string // prefix
	from     []string
	reason   string
}{
	{"gvisor.dev/gvisor", []string{"netstack"}, "tcpip.Error is not an error: gVisor stops at netstack"},
	{"golang.zx2c4.com/wireguard", []string{"netstack/tundev"}, "one place makes TUN devices"},
	{"github.com/vishvananda/", []string{"appliance/host", "netstack/tundev", "netstack/packetdev", "test"}, "links, routes and namespaces are the host's affair"},
	{"github.com/envoyproxy/go-control-plane", []string{"configs", "appliance", "proxy", "test"}, "netstack, tunnel and internal-listeners know no configuration"},
	{"github.com/spf13/cobra", []string{"cmd"}, "the command line is one tree, and thin"},
	{"github.com/prometheus/", []string{"proxy/stats"}, "metrics are exposed in one place; the hot path has counters of its own"},
	{"github.com/quic-go/", []string{"proxy/codec"}, "HTTP/3 is a codec"},
	{"golang.org/x/net/http2", []string{"proxy/codec/h2", "test"}, "frames stop at the HTTP/2 core"},
	{"net/http", []string{"appliance/admin", "appliance/demo", "test"}, "our codecs serve traffic; net/http serves the admin, plays the ends of the demo and is an oracle in tests"},
}

// leaves may be imported by every package of culvert.
var leaves = []string{"proxy/network", "proxy/codec", "configs/field", "configs/culvert/v1"}

// trees know each other only through the leaves; appliance introduces them.
var trees = []string{"netstack", "tunnel", "internal-listeners", "configs", "proxy"}

// layers order the packages inside proxy: a package imports lower layers only,
// and its own sub-packages.
var layers = [][]string{
	{"proxy/network"},
	{"proxy/codec"},
	{"proxy/openssl", "proxy/datasource"},
	{"proxy/transport", "proxy/resolver", "proxy/format", "proxy/matcher", "proxy/stats", "proxy/accesslog"},
	{"proxy/route", "proxy/cluster", "proxy/listenerfilter"},
	{"proxy/hcm", "proxy/tcpproxy", "proxy/listener", "proxy/httpfilter"},
}

// sameLayer are the imports within a layer that are meant.
var sameLayer = map[string][]string{
	"proxy/accesslog": {"proxy/format", "proxy/matcher"}, // a log line is a format with a sink, and filters before it
	"proxy/transport": {"proxy/stats", "proxy/format"},   // TLVs and authorities are formats
}

// barred are the imports that no layer rule speaks of.
var barred = []struct{ from, imported, reason string }{
	{"proxy/network", "google.golang.org/protobuf", "the leaf knows no configuration"},
	{"proxy/codec", "google.golang.org/protobuf", "the leaf knows no configuration"},
	{"proxy/network", "github.com/", "the leaf is the standard library and x/sys"},
	{"configs/field", "github.com/", "the leaf is the standard library"},
}

type source struct {
	pkg     string // directory in the module
	file    string
	imports []string
}

func TestImportRules(t *testing.T) {
	files := read(t, "../..")
	if len(files) < 20 {
		t.Fatalf("only %d files found: the test looks at the wrong tree", len(files))
	}
	for _, f := range files {
		for _, imp := range f.imports {
			for _, complaint := range judge(f, imp) {
				t.Errorf("%s imports %s: %s", f.file, imp, complaint)
			}
		}
	}
}

// The rules must be able to fail: each of these breaks one.
func TestRulesCatch(t *testing.T) {
	for _, c := range []struct{ pkg, imp string }{
		{"proxy/hcm", "gvisor.dev/gvisor/pkg/tcpip"},
		{"tunnel", "culvert/proxy/cluster"},
		{"netstack", "culvert/configs"},
		{"proxy/cluster", "culvert/tunnel"},
		{"proxy/codec/h2", "culvert/proxy/route"},
		{"proxy/route", "culvert/proxy/cluster"},
		{"proxy/hcm", "culvert/appliance"},
		{"appliance", "culvert/cmd/culvert"},
		{"proxy/network", "github.com/google/go-cmp/cmp"},
	} {
		if len(judge(source{pkg: c.pkg, file: c.pkg + "/x.go"}, c.imp)) == 0 {
			t.Errorf("%s may import %s: a rule is missing", c.pkg, c.imp)
		}
	}
}

func judge(f source, imp string) (complaints []string) {
	test := strings.HasSuffix(f.file, "_test.go") || strings.HasSuffix(f.pkg, "test")
	if !test {
		for _, r := range onlyFrom {
			if under(imp, strings.TrimSuffix(r.imported, "/")) && !anyUnder(f.pkg, r.from) {
				complaints = append(complaints, r.reason)
			}
		}
		for _, b := range barred {
			if f.pkg == b.from && strings.HasPrefix(imp, b.imported) {
				complaints = append(complaints, b.reason)
			}
		}
	}
	inner, ours := strings.CutPrefix(imp, "culvert/")
	if !ours || under(inner, f.pkg) || under(f.pkg, inner) {
		return complaints
	}
	switch {
	case under(inner, "cmd"):
		complaints = append(complaints, "nothing imports a command")
	case under(inner, "appliance") && !anyUnder(f.pkg, []string{"appliance", "cmd", "test", "bench"}):
		complaints = append(complaints, "appliance imports everything and is imported by commands only")
	case under(inner, "test") && !test && !anyUnder(f.pkg, []string{"test", "bench"}):
		complaints = append(complaints, "product code does not import tests")
	case test:
		// a test may introduce parties, as appliance does
	case anyUnder(inner, leaves):
	case tree(f.pkg) != "" && tree(inner) != "" && tree(f.pkg) != tree(inner):
		complaints = append(complaints, "these trees know each other only through the leaves")
	case tree(f.pkg) == "proxy":
		if !mayImport(f.pkg, inner) {
			complaints = append(complaints, "inside proxy, imports point to lower layers only")
		}
	}
	return complaints
}

func mayImport(from, to string) bool {
	a, b := layer(from), layer(to)
	if a > b {
		return true
	}
	for pkg, allowed := range sameLayer {
		if under(from, pkg) && anyUnder(to, allowed) {
			return true
		}
	}
	return false
}

func layer(pkg string) int {
	return slices.IndexFunc(layers, func(l []string) bool { return anyUnder(pkg, l) })
}

func tree(pkg string) string {
	for _, t := range trees {
		if under(pkg, t) {
			return t
		}
	}
	return ""
}

func under(pkg, prefix string) bool {
	return pkg == prefix || strings.HasPrefix(pkg, prefix+"/")
}

func anyUnder(pkg string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return under(pkg, p) })
}

// read parses the imports of every Go file of the module.
func read(t *testing.T, root string) []source {
	t.Helper()
	var out []source
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != root && (strings.HasPrefix(d.Name(), ".") || hasModule(p)) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		s := source{pkg: path.Dir(filepath.ToSlash(rel)), file: filepath.ToSlash(rel)}
		for _, i := range f.Imports {
			name, _ := strconv.Unquote(i.Path.Value)
			s.imports = append(s.imports, name)
		}
		out = append(out, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// hasModule reports a module of its own, such as the benchmark peers.
func hasModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}
