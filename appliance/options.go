package appliance

import (
	"io"
	"log/slog"
	"time"
)

// Options are what a process gives an appliance beside its configuration.
type Options struct {
	Log *slog.Logger
	// Level is that of Log, for an operator to change; nil: it cannot be.
	Level *slog.LevelVar
	// Stdout and Stderr are where access loggers of those names write.
	Stdout, Stderr io.Writer
	// Version is shown in /stats and sent nowhere.
	Version string
	// MaxHeap is what the process may hold where the configuration has no overload
	// manager (overload.MaxHeap), bytes; 0: no limit is known.
	MaxHeap uint64
	// DrainTime is how long open flows may go on once the appliance stops, or
	// once a new configuration has replaced theirs.
	DrainTime time.Duration
}
