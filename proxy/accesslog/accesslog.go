package accesslog

import (
	"sync"

	"culvert/configs/field"
	"culvert/proxy/format"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
)

// Logger writes records to every log of one access_log list. It is safe from
// any goroutine. A nil Logger writes none.
type Logger struct {
	logs    []log
	buffers sync.Pool // *[]byte, one while a record is made
}

type log struct {
	filter filter // nil lets everything through
	line   *format.Substitution
	sink   *sink
}

// New compiles an access_log list. Files are opened here, once for each path.
// Errors are paths within the list: [0].typed_config.path. An empty list is a
// nil Logger.
func New(logs []*accesslogv3.AccessLog, sinks *Sinks) (*Logger, error) {
	if len(logs) == 0 {
		return nil, nil
	}
	l := &Logger{buffers: sync.Pool{New: func() any { return new([]byte) }}}
	var errs []error
	for i, m := range logs {
		one, err := newLog(m, sinks)
		errs = append(errs, field.At(field.Index("", i), err))
		l.logs = append(l.logs, one)
	}
	if err := field.Join(errs...); err != nil {
		return nil, err
	}
	return l, nil
}

func newLog(m *accesslogv3.AccessLog, sinks *Sinks) (log, error) {
	f, filterErr := newFilter(m.GetFilter())
	line, sink, err := newOutput(m, sinks)
	return log{f, line, sink}, field.Join(field.At("filter", filterErr), field.At("typed_config", err))
}

// Log writes one record to each log whose filter lets it through. It never
// waits long: what a sink cannot take is dropped and counted.
func (l *Logger) Log(c *format.Context) {
	if l == nil {
		return
	}
	buf := l.buffers.Get().(*[]byte)
	for i := range l.logs {
		if f := l.logs[i].filter; f != nil && !f(c) {
			continue
		}
		*buf = l.logs[i].line.AppendLine((*buf)[:0], c)
		l.logs[i].sink.write(*buf)
	}
	l.buffers.Put(buf)
}
