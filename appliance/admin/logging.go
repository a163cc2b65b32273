package admin

import (
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strings"
)

// LevelOff is above everything that is logged.
const LevelOff = slog.Level(math.MaxInt32)

// logger is the name of the one logger there is.
const logger = "culvert"

const loggingUsage = `usage: /logging?level=<level> (change the level)
usage: /logging?culvert=<level> (change the level of the only logger)
usage: /logging?paths=culvert:<level> (the same)
usage: /logging (show the level)
levels: trace debug info warning error critical off
`

// ParseLevel reads a level as Envoy names it. trace is debug, critical is error:
// culvert logs nothing between.
func ParseLevel(name string) (slog.Level, error) {
	switch strings.ToLower(name) {
	case "trace", "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn", "warning":
		return slog.LevelWarn, nil
	case "error", "critical":
		return slog.LevelError, nil
	case "off":
		return LevelOff, nil
	}
	return 0, fmt.Errorf("%q: want trace, debug, info, warning, error, critical or off", name)
}

func levelName(l slog.Level) string {
	switch {
	case l >= LevelOff:
		return "off"
	case l >= slog.LevelError:
		return "error"
	case l >= slog.LevelWarn:
		return "warning"
	case l >= slog.LevelInfo:
		return "info"
	}
	return "debug"
}

func loggingPage(d Deps) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if d.Level == nil {
			http.Error(w, "the log's level is fixed", http.StatusServiceUnavailable)
			return
		}
		level, set, ok := askedLevel(r.URL.Query())
		if !ok {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, loggingUsage)
			return
		}
		if set {
			d.Level.Set(level)
		}
		fmt.Fprintf(w, "active loggers:\n  %s: %s\n", logger, levelName(d.Level.Level()))
	}
}

// askedLevel is the level to set, if one is: at most one parameter, and all
// that it names is the one logger.
func askedLevel(q url.Values) (level slog.Level, set, ok bool) {
	if len(q) == 0 {
		return 0, false, true
	}
	if len(q) > 1 {
		return 0, false, false
	}
	name := q.Get("level")
	switch {
	case q.Has("level"):
	case q.Has(logger):
		name = q.Get(logger)
	default: // paths=culvert:debug
		var who string
		who, name, _ = strings.Cut(q.Get("paths"), ":")
		if who != logger {
			return 0, false, false
		}
	}
	level, err := ParseLevel(name)
	return level, err == nil, err == nil
}
