package examples

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"culvert/test/need"
)

// A proof that cannot fail proves nothing.
func TestProofsFail(t *testing.T) {
	need.Root(t)
	for _, lines := range [][]string{
		{"false", "true"},
		{"! true", "true"},
		{"false | true", "true"},
		{"culvert -c absent.yaml &", "true"},
		{"seq 3 | cmp - <(seq 4)"},
	} {
		t.Run(lines[0], func(t *testing.T) {
			t.Parallel()
			if err := run(t, place(t), proof{name: "x", lines: lines}.script()); err == nil {
				t.Error("it passes")
			}
		})
	}
	t.Run("what holds passes", func(t *testing.T) {
		t.Parallel()
		if err := run(t, place(t), proof{name: "x", lines: []string{"(echo ready; sleep 100) &", "seq 3 | cmp - <(seq 3)"}}.script()); err != nil {
			t.Error(err)
		}
	})
}

func TestReadProof(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		lines      []string // none: an error
	}{
		{"whole", "# a\n#\n# prove:\n#   a &\n#   curl x | b\n\nadmin: {}\n", []string{"a &", "curl x | b"}},
		{"ends at prose", "# a\n# prove:\n#   a &\n#   b\n# and so on\n#   c\n", []string{"a &", "b"}},
		{"no mark", "# a\n#   a &\n#   b\n", nil},
		{"no commands", "# a\n# prove:\nadmin: {}\n", nil},
		{"nothing but what keeps running", "# a\n# prove:\n#   a &\n#   b &\n", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.yaml")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			p, err := readProof(path)
			if (err != nil) != (tt.lines == nil) || !slices.Equal(p.lines, tt.lines) {
				t.Errorf("%q, %v; want %q", p.lines, err, tt.lines)
			}
		})
	}
}
