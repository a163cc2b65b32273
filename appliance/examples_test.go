package appliance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"culvert/configs"
)

// M01: the example configurations can be used as they stand, with the
// certificates that their comments tell to make.
func TestExamples(t *testing.T) {
	paths, err := filepath.Glob("../configs/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "certs"), 0o700); err != nil {
		t.Fatal(err)
	}
	certificates(t, filepath.Join(dir, "certs"))
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			// Their paths are relative to where culvert is started.
			here := strings.ReplaceAll(string(text), "certs/", filepath.Join(dir, "certs")+"/")
			copied := filepath.Join(dir, filepath.Base(path))
			if err := os.WriteFile(copied, []byte(here), 0o600); err != nil {
				t.Fatal(err)
			}
			warnings, problems := Validate(configs.Source{Path: copied})
			for _, p := range append(warnings, problems...) {
				t.Error(p)
			}
		})
	}
}

// What is only validated opens nothing: no access log, no socket.
func TestValidateOpensNothing(t *testing.T) {
	dir := t.TempDir()
	w := &directWorld{Front: "1", Origin: "1", Admin: filepath.Join(dir, "admin.sock"), Log: filepath.Join(dir, "access.log")}
	if _, problems := Validate(configs.Source{YAML: render(t, directTemplate, w)}); len(problems) > 0 {
		t.Error(problems)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
