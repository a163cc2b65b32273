package accesslog

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// Bounds of a sink.
const (
	// flushInterval is how long a record waits for others, flushSize how many
	// bytes are enough to write at once. Both are Envoy's.
	flushInterval = time.Second
	flushSize     = 64 << 10
	// maxPending is how many bytes wait to be written; as many again may be in
	// the hands of the writer.
	maxPending = 1 << 20
	// fullWait is how long the first record that finds no room waits for it.
	fullWait = 100 * time.Millisecond
	// closeWait is how long Close waits for a writer that is stuck.
	closeWait = 3 * time.Second
)

// sink is one output: a buffer of whole records, and whoever writes it out. A
// goroutine runs only while there is something to write.
type sink struct {
	// immutable
	path    string // empty: a stream that is not ours to close
	counts  *counts
	writers sync.WaitGroup // drain

	users int // Sinks that hold it; guarded by their mu

	// guarded by mu
	mu      sync.Mutex
	out     io.Writer
	old     []io.Closer   // files that Reopen has replaced
	pending []byte        // whole records
	records int           // in pending
	spare   []byte        // for pending, while another buffer is written
	room    chan struct{} // closed when pending was taken
	timer   *time.Timer   // runs while something is pending
	writing bool          // drain runs
	stuck   bool          // there was no room even after a wait
	closed  bool
}

func newSink(path string, out io.Writer, c *counts) *sink {
	return &sink{path: path, out: out, counts: c, room: make(chan struct{})}
}

// write takes one record, or drops it.
func (s *sink) write(record []byte) {
	if len(record) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fullLocked(len(record)) && !s.stuck {
		s.waitLocked(len(record))
	}
	if s.closed || s.fullLocked(len(record)) {
		s.counts.dropped.Add(1)
		return
	}
	s.pending = append(s.pending, record...)
	s.records++
	s.counts.records.Add(1)
	switch {
	case len(s.pending) >= flushSize:
		s.startLocked()
	case s.timer == nil:
		s.timer = time.AfterFunc(flushInterval, s.flush)
	}
}

// fullLocked: a record larger than the buffer is taken where nothing else is.
func (s *sink) fullLocked(n int) bool {
	return len(s.pending) > 0 && len(s.pending)+n > maxPending
}

// waitLocked waits a moment for room, without the lock. Whoever waits in vain
// spares the others the wait.
func (s *sink) waitLocked(n int) {
	deadline := time.NewTimer(fullWait)
	defer deadline.Stop()
	for s.fullLocked(n) && !s.closed && !s.stuck {
		room := s.room
		s.mu.Unlock()
		var late bool
		select {
		case <-room:
		case <-deadline.C:
			late = true
		}
		s.mu.Lock()
		if late && s.fullLocked(n) {
			s.stuck = true
		}
	}
}

// flush has what is pending written now.
func (s *sink) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) > 0 || len(s.old) > 0 {
		s.startLocked()
	}
}

func (s *sink) startLocked() {
	if s.writing {
		return
	}
	s.writing = true
	s.writers.Go(s.drain) // ends when nothing is pending; close waits for it
}

// drain writes until nothing is pending.
func (s *sink) drain() {
	for {
		batch, records, out, old := s.take()
		for _, c := range old {
			_ = c.Close() // what it was told to write it has written
		}
		if batch == nil {
			return
		}
		if _, err := out.Write(batch); err != nil {
			s.counts.failed.Add(1)
			s.counts.dropped.Add(uint64(records))
		} else {
			s.counts.written.Add(1)
		}
		s.mu.Lock()
		s.spare, s.stuck = batch, false
		s.mu.Unlock()
	}
}

// take empties pending; a nil batch ends drain.
func (s *sink) take() (batch []byte, records int, out io.Writer, old []io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, s.old = s.old, nil
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if len(s.pending) == 0 {
		s.writing = false
		return nil, 0, nil, old
	}
	batch, records, out = s.pending, s.records, s.out
	s.pending, s.records, s.spare = s.spare[:0], 0, nil
	close(s.room)
	s.room = make(chan struct{})
	return batch, records, out, old
}

// reopen opens the path anew; on error the old file stays.
func (s *sink) reopen() error {
	if s.path == "" {
		return nil
	}
	f, err := openFile(s.path)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return f.Close()
	}
	if c, ok := s.out.(io.Closer); ok {
		s.old = append(s.old, c)
	}
	s.out = f
	s.startLocked() // to close the old file
	return nil
}

// close writes what is pending and closes the file, once.
func (s *sink) close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	s.startLocked()
	out := s.out
	s.mu.Unlock()

	done := make(chan struct{})
	go func() { // ends with drain; a writer that is stuck outlives the wait
		s.writers.Wait()
		close(done)
	}()
	late := time.NewTimer(closeWait)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
		return errors.New("access log " + s.path + ": its writer is stuck")
	}
	if c, ok := out.(io.Closer); ok && s.path != "" {
		return c.Close()
	}
	return nil
}

func openFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
}
