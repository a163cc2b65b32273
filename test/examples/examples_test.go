package examples

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/test/need"
	"culvert/test/topology"
)

const (
	provenWithin  = 2 * time.Minute
	exchangeBytes = 16 << 20 // what `seq 2300000` prints is more
)

// elsewhere is the examples of several terminals, which test/e2e proves.
var elsewhere = []string{"gateway_http2_connect", "tun_to_http2_connect"}

// TestExamples runs what each example says proves it.
func TestExamples(t *testing.T) {
	paths, err := filepath.Glob("../../configs/*.yaml")
	if err != nil || len(paths) < 3 {
		t.Fatalf("examples: %v, %v", paths, err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		if slices.Contains(elsewhere, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := readProof(path)
			if err != nil {
				t.Fatal(err)
			}
			prove(t, p)
		})
	}
}

func prove(t *testing.T, p proof) {
	need.Root(t)
	for _, name := range append(p.programs(), "bash", "unshare") {
		need.Command(t, name)
	}
	if p.capturesPackets() {
		need.TUN(t)
	}
	dir := place(t)
	if err := run(t, dir, p.script()); err != nil {
		t.Fatal(err)
	}
	var want uint64 = 2 * exchangeBytes * p.exchanges()
	if got := received(t, dir); got < want {
		t.Errorf("%d bytes moved, want %d or more", got, want)
	}
}

// place is a directory that looks like the repository to the commands.
func place(t *testing.T) string {
	t.Helper()
	configs, err := filepath.Abs("../../configs")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(configs, filepath.Join(dir, "configs")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// run runs a script on a host of its own. Whatever it started ends with it, also
// when it is killed.
func run(t *testing.T, dir, script string) error {
	t.Helper()
	var out bytes.Buffer
	cmd := topology.New(t).Host("example").Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", script)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, environment(dir), &out, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	late := time.AfterFunc(provenWithin, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if !late.Stop() {
		err = fmt.Errorf("not done after %v", provenWithin)
	}
	logs := logsIn(t, dir)
	t.Logf("%s\n%s", out.Bytes(), logs)
	for _, sign := range []string{"panic:", "fatal error:", "DATA RACE"} {
		if strings.Contains(logs, sign) {
			err = errors.Join(err, fmt.Errorf("a log has %q", sign))
		}
	}
	return err
}

// environment is the test's own, where culvert is in PATH and no proxy is set.
func environment(dir string) (env []string) {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(strings.ToLower(v), "="); !strings.HasSuffix(name, "_proxy") {
			env = append(env, v)
		}
	}
	return append(env, "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"), "TMPDIR="+dir)
}

func logsIn(t *testing.T, dir string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "log.*"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s:\n%s", filepath.Base(path), text)
	}
	return all.String()
}

// received is how many bytes the interfaces of the host took in while the commands
// ran; what lo carries it takes in once.
func received(t *testing.T, dir string) (sum uint64) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "traffic"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		_, counters, found := strings.Cut(line, ":")
		if !found {
			continue // the head of the table
		}
		var n uint64
		if _, err := fmt.Sscan(counters, &n); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		sum += n
	}
	return sum
}
