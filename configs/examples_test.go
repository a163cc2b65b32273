package configs

import (
	"path/filepath"
	"testing"
)

// TestExamples loads each file of this directory; nothing in them needs a
// warning.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("examples %v, %v", files, err)
	}
	for _, path := range files {
		t.Run(path, func(t *testing.T) {
			doc, err := Load(Source{Path: path})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range append(doc.Warnings, doc.Lint()...) {
				t.Error(p)
			}
		})
	}
}
