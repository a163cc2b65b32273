package program

import (
	"bytes"
	"sync"
)

// tailBytes is how much of what a process says is kept.
const tailBytes = 64 << 10

// Tail keeps the end of what a process says.
type Tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write never fails.
func (l *Tail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(b)
	if over := l.buf.Len() - tailBytes; over > 0 {
		l.buf.Next(over)
	}
	return len(b), nil
}

// Text is what is kept so far.
func (l *Tail) Text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
