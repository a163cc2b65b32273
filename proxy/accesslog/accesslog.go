package accesslog

import (
	"io"

	"culvert/configs/field"
	"culvert/proxy/format"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
)

// Logger writes records to every log of one access_log list. A nil Logger
// writes none.
type Logger struct{}

// New compiles an access_log list. Errors are paths within it: [0].typed_config.
func New(logs []*accesslogv3.AccessLog, sinks *Sinks) (*Logger, error) { return &Logger{}, nil }

// Log writes one record to each log whose filter lets it through. It never
// waits long: what a sink cannot take is dropped and counted.
func (l *Logger) Log(c *format.Context) {}

// Honoured declares the fields New reads.
func Honoured() field.Honoured { return field.Honoured{} }

// Sinks are the open outputs, one for each path, shared by all loggers of all
// generations.
type Sinks struct{}

// NewSinks makes the sinks of a process.
func NewSinks(stdout, stderr io.Writer) *Sinks { return &Sinks{} }

// Close writes what is buffered and closes the files.
func (s *Sinks) Close() error { return nil }

// Reopen opens every file anew, for log rotation.
func (s *Sinks) Reopen() error { return nil }
