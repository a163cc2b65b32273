package configs

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestLoadGolden loads each file of testdata/load and compares what it became,
// or everything that is wrong with it, with the .golden file beside it.
func TestLoadGolden(t *testing.T) {
	for _, path := range inputs(t, "testdata/load") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			doc, err := Load(Source{Path: path})
			golden(t, path+".golden", strings.ReplaceAll(outcome(t, doc, err), path, filepath.Base(path)))
		})
	}
}

func inputs(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, path := range all {
		if !strings.HasSuffix(path, ".golden") {
			out = append(out, path)
		}
	}
	if len(out) == 0 {
		t.Fatalf("%s is empty", dir)
	}
	return out
}

// outcome is the errors, or the warnings and the normalised dump.
func outcome(t *testing.T, doc *Document, err error) string {
	t.Helper()
	if err != nil {
		return "error\n" + err.Error() + "\n"
	}
	var b strings.Builder
	b.WriteString("ok\n")
	for _, w := range doc.Warnings {
		b.WriteString("warning: " + w.String() + "\n")
	}
	b.WriteString(dump(t, doc.Bootstrap))
	return b.String()
}

// dump is JSON with sorted keys: protojson varies its spaces on purpose.
func dump(t *testing.T, m proto.Message) string {
	t.Helper()
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	out, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out) + "\n"
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
