package accesslog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// A file stays open for as long as somebody's loggers use it, and what they
// wrote is in it when it is closed.
func TestSharesHoldFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	list := fmt.Sprintf(`[{"typed_config": {"file", "path": %q, "log_format": {"text_format": "%%REQ(x)%%\n"}}},
		{"typed_config": {"file", "path": %q, "log_format": {"text_format": "%%REQ(x)%%\n"}}}]`, path, path)
	root := NewSinks(io.Discard, io.Discard)
	older, newer := root.Share(), root.Share()
	a, b := logger(t, list, older), logger(t, list, newer) // each twice in one list
	file := root.files[path].out.(*os.File)
	a.Log(saying("a"))
	if err := older.Release(); err != nil {
		t.Fatal(err)
	}
	b.Log(saying("b"))
	if _, err := file.Stat(); err != nil {
		t.Errorf("closed while it is used: %v", err)
	}
	if err := newer.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("nobody uses it: %v, want it closed", err)
	}
	if got, _ := os.ReadFile(path); string(got) != "a\na\nb\nb\n" {
		t.Errorf("it holds %q", got)
	}
	if err := errors.Join(newer.Release(), older.Release()); err != nil || len(root.files) != 0 {
		t.Errorf("released twice: %v, %d files", err, len(root.files))
	}

	again := logger(t, list, root)
	again.Log(saying("c"))
	if err := root.Close(); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); string(got) != "a\na\nb\nb\nc\nc\n" {
		t.Errorf("opened anew it holds %q", got)
	}
}

// The streams are nobody's to close.
func TestReleaseLeavesTheStreams(t *testing.T) {
	w := new(slow)
	root := NewSinks(w, io.Discard)
	share := root.Share()
	logger(t, bare, share).Log(saying("a"))
	if err := share.Release(); err != nil {
		t.Fatal(err)
	}
	logger(t, bare, root).Log(saying("b"))
	_ = root.Close()
	if got, _ := w.read(); got != "a\nb\n" {
		t.Errorf("%q", got)
	}
}
