package report

import (
	"os"
	"strings"
	"testing"
)

// A peer that is built says which module it is of, one that is not there says
// nothing.
func TestVersions(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	built := Peer{Name: "self", Path: self, Module: "go.uber.org/goleak"}.version()
	if installed := (Peer{Path: "sh", Flag: "-c"}).version(); installed == "" {
		t.Error("a program that is there says nothing")
	}
	for _, p := range []Peer{{Path: "/none", Module: "example.com/none"}, {Path: "/none", Flag: "-v"}} {
		if v := p.version(); v != "" {
			t.Errorf("%q has version %q", p.Path, v)
		}
	}
	m := ThisMachine("/none", []Peer{{Name: "self", Path: self, Module: "go.uber.org/goleak"}}).Markdown()
	if built == "" || !strings.Contains(m, "\n- self: "+built) || !strings.Contains(m, "\n- Go: ") || strings.Contains(m, "\n- culvert:") {
		t.Errorf("built of %q, machine:\n%s", built, m)
	}
}
