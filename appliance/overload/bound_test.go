package overload

import (
	"os"
	"path/filepath"
	"testing"
)

func TestGroupLimit(t *testing.T) {
	for name, c := range map[string]struct {
		membership string
		files      map[string]string
		want       uint64
	}{
		"none":                 {membership: "0::/\n"},
		"v2 in its namespace":  {"0::/\n", map[string]string{"memory.max": "134217728\n"}, 134217728},
		"v2 below":             {"0::/a/b\n", map[string]string{"a/b/memory.max": "max\n", "a/memory.max": "1000\n"}, 1000},
		"v2 unlimited":         {"0::/a\n", map[string]string{"a/memory.max": "max\n"}, 0},
		"v2 path that is not":  {"0::/../x\n", map[string]string{"memory.max": "77\n"}, 77},
		"v1":                   {"5:cpu:/\n4:memory:/x\n0::/\n", map[string]string{"memory/x/memory.limit_in_bytes": "2000\n"}, 2000},
		"v1 with others":       {"4:hugetlb,memory:/x\n", map[string]string{"memory/memory.limit_in_bytes": "3000\n"}, 3000},
		"v1 unlimited":         {"4:memory:/\n", map[string]string{"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 0},
		"nothing of the sort":  {membership: "what\n"},
		"the least of several": {"4:memory:/\n0::/\n", map[string]string{"memory/memory.limit_in_bytes": "5\n", "memory.max": "4\n"}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write := func(path, text string) string {
				path = filepath.Join(dir, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				return path
			}
			for path, text := range c.files {
				write(filepath.Join("mount", path), text)
			}
			if got := groupLimit(write("cgroup", c.membership), filepath.Join(dir, "mount")); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
	if got := groupLimit("/does/not/exist", "/"); got != 0 {
		t.Error(got)
	}
}
