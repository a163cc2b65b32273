package need

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fake notes how a test would have ended.
type fake struct{ skipped, failed string }

func (*fake) Helper()                        {}
func (*fake) Name() string                   { return "TestOf" }
func (f *fake) Skipf(s string, args ...any)  { f.skipped = fmt.Sprintf(s, args...) }
func (f *fake) Fatalf(s string, args ...any) { f.failed = fmt.Sprintf(s, args...) }

func TestDemand(t *testing.T) {
	missing := errors.New("not here")
	for _, c := range []struct {
		name, all     string
		missing       error
		skips, failed string
	}{
		{name: "there"},
		{name: "there, all demanded", all: "1"},
		{name: "missing", missing: missing, skips: "need: thing: not here"},
		{name: "missing, all demanded", all: "1", missing: missing,
			failed: "need: thing: not here (CULVERT_TEST_ALL=1 demands it)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(EnvAll, c.all)
			t.Setenv(EnvSkipped, "")
			var f fake
			demand(&f, "thing", c.missing)
			if f.skipped != c.skips || f.failed != c.failed {
				t.Errorf("skipped %q, failed %q; want %q, %q", f.skipped, f.failed, c.skips, c.failed)
			}
		})
	}
}

func TestSkipsAreRecorded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "skipped")
	t.Setenv(EnvAll, "")
	t.Setenv(EnvSkipped, file)
	var f fake
	demand(&f, "thing", errors.New("one"))
	demand(&f, "thing", errors.New("two"))
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(string(got)), "\n"); len(lines) != 2 ||
		!strings.HasSuffix(lines[1], "TestOf: need: thing: two") {
		t.Errorf("recorded %q", got)
	}

	t.Setenv(EnvSkipped, filepath.Join(t.TempDir(), "no", "such", "directory"))
	f = fake{}
	demand(&f, "thing", errors.New("three"))
	if f.failed == "" || f.skipped != "" {
		t.Errorf("a skip that cannot be recorded must fail: %+v", f)
	}
}

func TestCommand(t *testing.T) {
	if p := Command(t, "sh"); !filepath.IsAbs(p) {
		t.Errorf("Command(sh) = %q", p)
	}
}
