package configs

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// bomb is a YAML document of nine levels, each naming the one before it ten
// times.
func bomb(level func(i int) string) string {
	var b strings.Builder
	b.WriteString("!ignore x:\n  l0: &l0 " + level(-1) + "\n")
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&b, "  l%d: &l%d %s\n", i, i, level(i-1))
	}
	return b.String()
}

func listOf(i int) string {
	if i < 0 {
		return "[a, a, a]"
	}
	return fmt.Sprintf("[%s]", strings.Repeat(fmt.Sprintf("*l%d, ", i), 10))
}

func mapOf(i int) string {
	if i < 0 {
		return "{a: 1}"
	}
	var b strings.Builder
	for k := range 10 {
		fmt.Fprintf(&b, "k%d: *l%d, ", k, i)
	}
	return "{" + b.String() + "}"
}

// within runs load and fails if it allocated more than 64 MiB, which bounds what
// was held, or took longer than no machine needs for what it may do.
func within(t *testing.T, load func() error) error {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	err := load()
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	if grew := after.TotalAlloc - before.TotalAlloc; grew > 64<<20 {
		t.Errorf("allocated %d MiB", grew>>20)
	}
	return err
}

func TestBounds(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"bomb of lists", bomb(listOf) + "node: {metadata: {a: *l9}}\n", "aliases repeat more than"},
		{"bomb of maps", bomb(mapOf) + "node: {metadata: *l9}\n", "aliases repeat more than"},
		{"bomb nobody uses", bomb(mapOf), "aliases repeat more than"},
		{
			"bomb of merge keys",
			"!ignore x:\n  a: &a {" + keys(1000) + "}\n  b:\n" + strings.Repeat("  - {<<: *a}\n", 200),
			"aliases repeat more than",
		},
		{
			"as many aliases as are allowed, each an unknown field",
			"!ignore x: &a {" + keys(1000) + "}\nstatic_resources: {clusters: [" + strings.Repeat("*a, ", 48) + "]}\n",
			"and 47900 more",
		},
		{"nested lists", "node: {metadata: {a: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}}", "nest deeper than 100 levels"},
		{"nested blocks", nestedBlocks(200), "nest deeper than 100 levels"},
		{"aliases nested to a depth not written", deepAliases(), "nest too deep"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := within(t, func() error { _, err := Load(Source{YAML: tt.text}); return err })
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %.300v, want %q", err, tt.want)
			}
		})
	}
}

func keys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d: x, ", i)
	}
	return b.String()
}

func nestedBlocks(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

// deepAliases nests ten levels of 50 within each other by aliases.
func deepAliases() string {
	var b strings.Builder
	inner := "x"
	for i := range 10 {
		fmt.Fprintf(&b, "!ignore x%d: &a%d %s%s%s\n", i, i, strings.Repeat("[", 50), inner, strings.Repeat("]", 50))
		inner = fmt.Sprintf("*a%d", i)
	}
	return b.String() + "node: {metadata: {a: *a9}}\n"
}

// TestLongLine: a document may be one line, and where a scalar stands in it is
// not searched from its beginning each time.
func TestLongLine(t *testing.T) {
	text := "node: {metadata: {k: [é, " + strings.Repeat("! 12, 12, ", 50_000) + "]}}"
	start := time.Now()
	doc, err := Load(Source{YAML: text})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 20*time.Second { // a second or two; quadratic, minutes
		t.Errorf("took %v", took)
	}
	list := doc.Bootstrap.GetNode().GetMetadata().GetFields()["k"].GetListValue().GetValues()
	if s, n := list[99_999].GetStringValue(), list[100_000].GetNumberValue(); s != "12" || n != 12 {
		t.Errorf("the last two are %v", list[99_999:])
	}
}

func TestLargeDocument(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(path, make([]byte, maxDocument+1), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(Source{Path: path})
	if err == nil || !strings.Contains(err.Error(), "larger than 16 MiB") {
		t.Errorf("error %v", err)
	}
}

// TestNestedAnys: an Any in an Any is re-encoded at each level.
func TestNestedAnys(t *testing.T) {
	open := `{"@type": type.googleapis.com/google.protobuf.Any, value: `
	text := "bootstrap_extensions: [{name: x, typed_config: " + strings.Repeat(open, 95) + "{}" + strings.Repeat("}", 95) + "}]"
	err := within(t, func() error { _, err := Load(Source{YAML: text}); return err })
	if err != nil && !strings.Contains(err.Error(), "deep") {
		t.Errorf("error %v", err)
	}
}
