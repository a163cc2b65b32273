package appliance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"culvert/configs"

	"github.com/google/go-cmp/cmp"
)

// TestValidate validates each file of testdata/validate and compares what is
// wrong with it with the .golden file beside it. The names begin with the id of
// the conformance test.
func TestValidate(t *testing.T) {
	paths, err := filepath.Glob("testdata/validate/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		t.Run(name, func(t *testing.T) {
			warnings, problems := Validate(configs.Source{Path: path})
			var b strings.Builder
			for _, p := range problems {
				if p.Path == "" || p.Line == 0 || p.File != path {
					t.Errorf("%s: without path, file or line", p)
				}
				b.WriteString("error: " + p.String() + "\n")
			}
			for _, p := range warnings {
				b.WriteString("warning: " + p.String() + "\n")
			}
			if len(problems) == 0 {
				b.WriteString("OK\n")
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".golden", strings.ReplaceAll(b.String(), path, filepath.Base(path)))
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run with -update)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}
