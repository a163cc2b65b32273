package appliance

import (
	"crypto/x509"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"culvert/configs"
	"culvert/proxy/transport/selfsigned"
	"culvert/test/peer"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	"google.golang.org/protobuf/encoding/protojson"
)

// shownCertificates are the days that each certificate of /certs has left, by
// its file.
func shownCertificates(t *testing.T, w *directWorld) map[string]uint64 {
	t.Helper()
	code, body, err := w.get("/certs")
	var page adminv3.Certificates
	if err != nil || code != 200 || protojson.Unmarshal([]byte(body), &page) != nil {
		t.Fatalf("/certs: %d %q, %v", code, body, err)
	}
	out := make(map[string]uint64)
	for _, c := range page.GetCertificates() {
		for _, d := range append(c.GetCaCert(), c.GetCertChain()...) {
			out[filepath.Base(d.GetPath())] = d.GetDaysUntilExpiration()
		}
	}
	return out
}

// What is said of certificates is what is in use: as it was read at the start,
// as it is after a file has changed, and after a reload.
func TestCertificatesShown(t *testing.T) {
	const days, first = "server.days_until_first_cert_expiring", 89 // 90 days less a moment
	w := newTunnelWorld(t)
	page := &directWorld{Admin: filepath.Join(w.dir, "admin.sock")}
	admin := "admin: {address: {pipe: {path: " + page.Admin + "}}}\n"
	s := serve(t, admin+w.config(w.origin('a')), time.Minute)
	if got, want := shownCertificates(t, page), (map[string]uint64{"ca.pem": 364, "gateway.pem": first, "client.pem": first}); !maps.Equal(got, want) {
		t.Errorf("/certs: %v, want %v", got, want)
	}
	if got := s.value(days); got != first {
		t.Errorf("%s %d, want %d", days, got, first)
	}

	expiresTomorrow(t, w.dir)
	eventually(t, "the new file is in use", func() bool { return s.value(days) == 1 })
	if got := shownCertificates(t, page); got["gateway.pem"] != 1 || got["client.pem"] != first {
		t.Errorf("/certs: %v", got)
	}

	d := newDirectWorld(t, peer.Echo())
	d.Admin = page.Admin
	if err := s.Swap(t.Context(), configs.Source{YAML: render(t, directTemplate, d)}); err != nil {
		t.Fatal(err)
	}
	if got := shownCertificates(t, page); len(got) != 0 || s.value(days) != math.MaxUint32 {
		t.Errorf("without any: /certs %v, %s %d", slices.Collect(maps.Keys(got)), days, s.value(days))
	}
}

// expiresTomorrow puts another certificate in the place of the gateway's.
func expiresTomorrow(t *testing.T, dir string) {
	t.Helper()
	ca, err := selfsigned.NewAuthority("another")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.IssueWith(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(30 * time.Hour) }, "gateway.test")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"gateway.pem": pair.Certificate, "gateway.key": pair.Key} {
		next := filepath.Join(dir, name+".next")
		if err := os.WriteFile(next, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}
