package configs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"culvert/configs/field"
)

// checkLoaded fails t if what Load returned is not of one piece.
func checkLoaded(t *testing.T, doc *Document, err error) {
	t.Helper()
	if err != nil {
		if doc != nil {
			t.Error("a document beside an error")
		}
		for _, p := range doc.Problems(err) {
			if p.Message == "" || strings.Contains(p.Message, "%!") {
				t.Errorf("problem %#v", p)
			}
		}
		return
	}
	if err := Validate(doc.Bootstrap); err != nil {
		t.Errorf("loaded and not valid: %v", err)
	}
	if _, err := proto.Marshal(doc.Bootstrap); err != nil {
		t.Errorf("loaded and not marshalled: %v", err)
	}
	_ = doc.Check(field.Honoured{"envoy.config.bootstrap.v3.Bootstrap": "static_resources bootstrap_extensions"})
	for _, w := range doc.Warnings {
		if w.Line == 0 {
			t.Errorf("warning without a line: %v", w)
		}
	}
}

// loadBytes loads a text as the one kind of file or the other.
func loadBytes(text []byte, isJSON bool) (*Document, error) {
	name := "f.yaml"
	if isJSON {
		name = "f.json"
	}
	l := newLoader(name)
	l.read(name, text)
	return l.finish()
}

func FuzzLoad(f *testing.F) {
	for _, dir := range []string{"testdata/load", "."} {
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range files {
			switch filepath.Ext(path) {
			case ".yaml", ".json":
				text, err := os.ReadFile(path)
				if err != nil {
					f.Fatal(err)
				}
				f.Add(text, strings.HasSuffix(path, ".json"))
			}
		}
	}
	f.Add([]byte(bomb(listOf)), false)
	f.Fuzz(func(t *testing.T, text []byte, isJSON bool) {
		doc, err := loadBytes(text, isJSON)
		checkLoaded(t, doc, err)
	})
}

// TestPrefixes loads every beginning of each valid and invalid input.
func TestPrefixes(t *testing.T) {
	for _, path := range inputs(t, "testdata/load") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range text {
			doc, err := loadBytes(text[:i], strings.HasSuffix(path, ".json"))
			checkLoaded(t, doc, err)
		}
	}
}
