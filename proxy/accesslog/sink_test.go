package accesslog

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/format"
)

// slow is a writer that a test lets go on, call by call.
type slow struct {
	mu     sync.Mutex
	got    []byte
	calls  int
	permit chan struct{} // nil: always
	err    error
}

func (w *slow) Write(p []byte) (int, error) {
	if w.permit != nil {
		<-w.permit
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	if w.err != nil {
		return 0, w.err
	}
	w.got = append(w.got, p...)
	return len(p), nil
}

func (w *slow) read() (string, int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.got), w.calls
}

const bare = `[{"typed_config": {"stdout", "log_format": {"text_format": "%REQ(x)%\n"}}}]`

func saying(s string) *format.Context {
	c := tunnelled()
	c.Request.Header.Set("x", s)
	return c
}

func TestFlushByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(slow)
		s := NewSinks(w, io.Discard)
		l := logger(t, bare, s)
		l.Log(saying("a"))
		time.Sleep(flushInterval / 2)
		l.Log(saying("b"))
		synctest.Wait()
		if got, _ := w.read(); got != "" {
			t.Errorf("written early: %q", got)
		}
		time.Sleep(flushInterval / 2)
		synctest.Wait()
		if got, calls := w.read(); got != "a\nb\n" || calls != 1 {
			t.Errorf("%q in %d calls", got, calls)
		}
		l.Log(saying("c"))
		s.Flush()
		synctest.Wait()
		if got, _ := w.read(); got != "a\nb\nc\n" {
			t.Errorf("after Flush: %q", got)
		}
		l.Log(saying("d"))
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		l.Log(saying("late"))
		if got, _ := w.read(); got != "a\nb\nc\nd\n" || s.Counts().Dropped != 1 {
			t.Errorf("after Close: %q, %+v", got, s.Counts())
		}
	})
}

func TestFlushBySize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(slow)
		s := NewSinks(w, io.Discard)
		l := logger(t, bare, s)
		for range 65 {
			l.Log(saying(strings.Repeat("x", 1023)))
		}
		synctest.Wait()
		if got, _ := w.read(); len(got) < flushSize {
			t.Errorf("%d bytes written", len(got))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A writer that stands still costs the flows one short wait in all, and what
// finds no room is counted; when it moves again so does the log.
func TestStuckWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &slow{permit: make(chan struct{})}
		s := NewSinks(w, io.Discard)
		l := logger(t, bare, s)
		start := time.Now()
		const n = 4000
		for range n { // 4 MB
			l.Log(saying(strings.Repeat("x", 1023)))
		}
		if took := time.Since(start); took > fullWait {
			t.Errorf("the flows waited %v", took)
		}
		c := s.Counts()
		if kept := c.Records * 1024; kept > 2*maxPending || kept < maxPending || c.Records+c.Dropped != n {
			t.Errorf("%+v", c)
		}
		close(w.permit)
		synctest.Wait()
		l.Log(saying("again"))
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if got, _ := w.read(); !strings.HasSuffix(got, "x\nagain\n") || uint64(strings.Count(got, "\n")) != c.Records+1 {
			t.Errorf("%d records came out", strings.Count(got, "\n"))
		}
	})
}

// A writer that is merely slow loses nothing: whoever finds no room waits.
func TestSlowWriterLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &slow{permit: make(chan struct{})}
		s := NewSinks(w, io.Discard)
		l := logger(t, bare, s)
		stop := make(chan struct{})
		var pace sync.WaitGroup
		pace.Go(func() {
			for {
				select {
				case w.permit <- struct{}{}:
					time.Sleep(fullWait / 10)
				case <-stop:
					close(w.permit)
					return
				}
			}
		})
		for range 10000 { // 10 MB
			l.Log(saying(strings.Repeat("x", 1023)))
		}
		close(stop)
		pace.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		got, _ := w.read()
		if c := s.Counts(); c.Dropped != 0 || strings.Count(got, "\n") != 10000 {
			t.Errorf("%+v, %d records", c, strings.Count(got, "\n"))
		}
	})
}

func TestCloseGivesUpOnAStuckWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &slow{permit: make(chan struct{})}
		s := NewSinks(w, io.Discard)
		logger(t, bare, s).Log(saying("a"))
		start := time.Now()
		if err := s.Close(); err == nil || time.Since(start) != closeWait {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		close(w.permit)
	})
}

func TestWriteErrorsAreCounted(t *testing.T) {
	w := &slow{err: errors.New("disk full")}
	s := NewSinks(w, io.Discard)
	l := logger(t, bare, s)
	l.Log(saying("a"))
	l.Log(saying("b"))
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if c := s.Counts(); c.Failed != 1 || c.Dropped != 2 {
		t.Errorf("%+v", c)
	}
}

// Two generations that write to one file do not interleave their lines.
func TestLinesAreWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	s := NewSinks(io.Discard, io.Discard)
	list := `[{"typed_config": {"file", "path": "` + path + `", "format": "<%REQ(x)%>\n"}}]`
	a, b := logger(t, list, s), logger(t, strings.Replace(list, path, filepath.Dir(path)+"/./log", 1), s)
	if len(s.files) != 1 {
		t.Errorf("%d files", len(s.files))
	}
	var wg sync.WaitGroup
	for i := range 8 {
		l := []*Logger{a, b}[i%2]
		wg.Go(func() {
			for range 500 {
				l.Log(saying(strings.Repeat(string(rune('a'+i)), 200+i)))
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")
	if len(lines) != 4000 {
		t.Errorf("%d lines", len(lines))
	}
	for _, line := range lines {
		body := strings.TrimSuffix(strings.TrimPrefix(line, "<"), ">")
		if len(body) != 200+int(body[0]-'a') || strings.Trim(body, body[:1]) != "" {
			t.Fatalf("%q", line)
		}
	}
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	s := NewSinks(io.Discard, io.Discard)
	l := logger(t, `[{"typed_config": {"file", "path": "`+path+`", "format": "%REQ(x)%\n"}}]`, s)
	l.Log(saying("before"))
	if err := s.Close(); err != nil { // written for certain
		t.Fatal(err)
	}
	s = NewSinks(io.Discard, io.Discard)
	l = logger(t, `[{"typed_config": {"file", "path": "`+path+`", "format": "%REQ(x)%\n"}}]`, s)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Log(saying("after"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	old, _ := os.ReadFile(path + ".1")
	now, _ := os.ReadFile(path)
	if string(old) != "before\n" || string(now) != "after\n" {
		t.Errorf("%q, %q", old, now)
	}
}

// A file that cannot be opened anew goes on.
func TestReopenFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := NewSinks(io.Discard, io.Discard)
	l := logger(t, `[{"typed_config": {"file", "path": "`+dir+`/log", "format": "%REQ(x)%\n"}}]`, s)
	if err := os.Rename(dir, dir+".1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Reopen(); err == nil || s.Counts().ReopenFailed != 1 {
		t.Errorf("%v", err)
	}
	l.Log(saying("on"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(dir + ".1/log"); string(got) != "on\n" {
		t.Errorf("%q", got)
	}
}

// Validation touches no file.
func TestDiscardSinks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	s := DiscardSinks()
	logger(t, `[{"typed_config": {"file", "path": "`+path+`"}}]`, s).Log(tunnelled())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
