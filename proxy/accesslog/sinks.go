package accesslog

import (
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"

	"culvert/configs/field"
)

// Sinks are the open outputs, one for each path, shared by all loggers. They are
// safe from any goroutine.
//
// Whoever has loggers for a time, as a configuration has, makes them with a
// Share of the sinks, and releases it when they are done: a file that nobody
// uses any more is written out and closed.
type Sinks struct {
	*outputs

	// guarded by outputs.mu
	held map[*sink]bool // files that loggers of these Sinks use
}

// outputs are what all Shares have in common.
type outputs struct {
	stdout, stderr *sink
	discard        bool
	counts         counts

	mu    sync.Mutex
	files map[string]*sink
}

type counts struct{ records, dropped, written, failed, reopenFailed atomic.Uint64 }

// Counts are what the sinks have done so far.
type Counts struct {
	// Records were taken, Dropped were not or could not be written.
	Records, Dropped uint64
	// Written batches reached their output, Failed ones did not.
	Written, Failed uint64
	// ReopenFailed counts files that could not be opened anew.
	ReopenFailed uint64
}

// NewSinks makes the sinks of a process. The streams stay the caller's, and are
// written to until Close.
func NewSinks(stdout, stderr io.Writer) *Sinks {
	s := &Sinks{outputs: &outputs{files: make(map[string]*sink)}, held: make(map[*sink]bool)}
	s.stdout = newSink("", stdout, &s.counts)
	s.stderr = newSink("", stderr, &s.counts)
	return s
}

// DiscardSinks open no file and write nothing: for a configuration that is
// only validated.
func DiscardSinks() *Sinks {
	s := NewSinks(io.Discard, io.Discard)
	s.discard = true
	return s
}

// Share is these Sinks for loggers that go before the others. It must be
// released.
func (s *Sinks) Share() *Sinks { return &Sinks{outputs: s.outputs, held: make(map[*sink]bool)} }

// Release gives up what the loggers of s use; they must be done. Files that
// nobody else uses are written out and closed, of which the error is.
func (s *Sinks) Release() error {
	var errs []error
	for _, one := range s.letGo() {
		errs = append(errs, one.close())
	}
	return field.Join(errs...)
}

// letGo are the sinks that nobody holds any more.
func (s *Sinks) letGo() []*sink {
	s.mu.Lock()
	defer s.mu.Unlock()
	var free []*sink
	for one := range s.held {
		if one.users--; one.users == 0 {
			delete(s.files, one.path)
			free = append(free, one)
		}
	}
	clear(s.held)
	return free
}

// holdLocked notes that loggers of s use one.
func (s *Sinks) holdLocked(one *sink) {
	if !s.held[one] {
		s.held[one] = true
		one.users++
	}
}

// open finds or opens the sink of a path. The standard streams have one sink
// each by whatever name, so that their lines stay whole; and where the process
// may not open them anew, as after a change of user, it need not.
func (s *Sinks) open(path string) (*sink, error) {
	path = filepath.Clean(path)
	switch path {
	case "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1":
		return s.stdout, nil
	case "/dev/stderr", "/dev/fd/2", "/proc/self/fd/2":
		return s.stderr, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.files[path]; ok {
		s.holdLocked(f)
		return f, nil
	}
	if s.discard {
		return s.stdout, nil
	}
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	one := newSink(path, f, &s.counts)
	s.files[path] = one
	s.holdLocked(one)
	return one, nil
}

// Counts are what the sinks have done so far.
func (s *Sinks) Counts() Counts {
	c := &s.counts
	return Counts{c.records.Load(), c.dropped.Load(), c.written.Load(), c.failed.Load(), c.reopenFailed.Load()}
}

// Flush has everything pending written soon; it does not wait.
func (s *Sinks) Flush() {
	for _, one := range s.all() {
		one.flush()
	}
}

// Reopen opens every file anew, for log rotation. A file that cannot be opened
// goes on as it was, and is in the error.
func (s *Sinks) Reopen() error {
	var errs []error
	for _, one := range s.all() {
		if err := one.reopen(); err != nil {
			s.counts.reopenFailed.Add(1)
			errs = append(errs, fmt.Errorf("reopen access log: %w", err))
		}
	}
	return field.Join(errs...)
}

// Close writes what is pending and closes the files. Records that come later
// are dropped and counted.
func (s *Sinks) Close() error {
	var errs []error
	for _, one := range s.all() {
		errs = append(errs, one.close())
	}
	return field.Join(errs...)
}

func (s *outputs) all() []*sink {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []*sink{s.stdout, s.stderr}
	for _, f := range s.files {
		out = append(out, f)
	}
	return out
}
