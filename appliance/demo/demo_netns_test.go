package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"culvert/test/leak"
	"culvert/test/need"
)

// leavesNothing runs the demo and fails the test unless it has put everything
// back: no file, no process, no descriptor (and with it no namespace: the
// demo's have no name).
func leavesNothing(t *testing.T, ctx context.Context, b Break, watch ...io.Writer) (out string, err error) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	before := leak.Open()
	var text bytes.Buffer
	err = Run(ctx, io.MultiWriter(append(watch, &text)...), b)
	if left, rerr := os.ReadDir(dir); rerr != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, rerr)
	}
	if left := children(t); left != "" {
		t.Errorf("processes are left: %s", left)
	}
	if lerr := leak.Check(before); lerr != nil {
		t.Error(lerr)
	}
	return text.String(), err
}

// children are the process IDs of this process's children.
func children(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(files) == 0 {
		t.Fatalf("no list of children: %v", err)
	}
	var out []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // a thread may have ended
			t.Fatal(err)
		}
		out = append(out, strings.Fields(string(b))...)
	}
	return strings.Join(out, " ")
}

func TestRun(t *testing.T) {
	need.Root(t)
	need.TUN(t)
	need.Long(t)
	out, err := leavesNothing(t, t.Context(), BreakNothing)
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, want := range []string{"\n10 checks held in ", "/flows of the capture, half-way", "as the origin's", "connection refused", "no route to host", "still connecting"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "FAILED") {
		t.Errorf("a check failed:\n%s", out)
	}
}

// A demo that cannot fail shows nothing: each thing that is broken on purpose
// is noticed where it is.
func TestRunNoticesBreaks(t *testing.T) {
	need.Root(t)
	need.TUN(t)
	need.Long(t)
	for b, want := range map[Break]string{
		BreakGateway: "FAILED  download: ",
		BreakSHA:     "FAILED  67108864 bytes in ",
		BreakRefuse:  "FAILED  a closed port ",
	} {
		t.Run(string(b), func(t *testing.T) {
			out, err := leavesNothing(t, t.Context(), b)
			if !errors.Is(err, errFailed) {
				t.Errorf("error %v, want that it did not hold", err)
			}
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
			if failures := strings.Count(out, "FAILED"); b != BreakGateway && failures != 1 {
				t.Errorf("%d checks failed, want the one that was broken:\n%s", failures, out)
			}
		})
	}
}

// A person who presses ^C half-way leaves nothing either.
func TestRunInterrupted(t *testing.T) {
	need.Root(t)
	need.TUN(t)
	for _, at := range []string{"culvert demo", "half-way"} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		out, err := leavesNothing(t, ctx, BreakNothing, writerFunc(func(b []byte) {
			if bytes.Contains(b, []byte(at)) {
				cancel()
			}
		}))
		if err == nil || !strings.Contains(out, at) {
			t.Errorf("at %q: error %v although it was interrupted:\n%s", at, err, out)
		}
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) {
	f(b)
	return len(b), nil
}
