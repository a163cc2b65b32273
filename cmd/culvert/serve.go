package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"time"

	"culvert/appliance"
	"culvert/appliance/admin"
	"culvert/appliance/overload"
	"culvert/configs"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// serveFlags are Envoy's names, so that documented command lines run as they
// stand.
type serveFlags struct {
	path, yaml  string
	mode        string
	level       string
	baseID      uint32
	concurrency uint
	drainSecs   uint32
	version     bool
}

// defaultDrain is Envoy's --drain-time-s.
const defaultDrain = 600

func (f *serveFlags) register(fs *pflag.FlagSet) {
	f.registerConfig(fs)
	fs.StringVar(&f.mode, "mode", "serve", "serve, or validate: check the configuration and exit")
	fs.StringVarP(&f.level, "log-level", "l", "info", "trace, debug, info, warning, error, critical or off")
	fs.Uint32Var(&f.baseID, "base-id", 0, "accepted and without effect: nothing is shared between processes")
	fs.UintVar(&f.concurrency, "concurrency", 0, "processors to use (GOMAXPROCS); 0 is all")
	fs.Uint32Var(&f.drainSecs, "drain-time-s", defaultDrain, "seconds that open flows may go on after SIGTERM")
	fs.BoolVar(&f.version, "version", false, "print the version and exit")
}

func (f *serveFlags) registerConfig(fs *pflag.FlagSet) {
	fs.StringVarP(&f.path, "config-path", "c", "", "configuration file, YAML or JSON")
	fs.StringVar(&f.yaml, "config-yaml", "", "configuration as YAML, merged over the file")
}

func (f *serveFlags) source() (configs.Source, error) {
	if f.path == "" && f.yaml == "" {
		return configs.Source{}, usageError{errors.New("a configuration is needed: -c FILE or --config-yaml YAML")}
	}
	return configs.Source{Path: f.path, YAML: f.yaml}, nil
}

func (f *serveFlags) run(cmd *cobra.Command) error {
	if f.version {
		fmt.Fprintln(cmd.OutOrStdout(), versionLine())
		return nil
	}
	src, err := f.source()
	if err != nil {
		return err
	}
	log, level, err := newLogger(cmd.ErrOrStderr(), f.level)
	if err != nil {
		return err
	}
	switch f.mode {
	case "validate":
		return validate(cmd.OutOrStdout(), cmd.ErrOrStderr(), src)
	case "serve":
	default:
		return usageError{fmt.Errorf("--mode %q: want serve or validate", f.mode)}
	}
	if f.concurrency > 0 {
		runtime.GOMAXPROCS(int(f.concurrency))
	}
	return serve(src, appliance.Options{
		Log: log, Level: level, Stdout: cmd.OutOrStdout(), Stderr: cmd.ErrOrStderr(),
		Version: versionString(), DrainTime: time.Duration(f.drainSecs) * time.Second,
		MaxHeap: overload.MaxHeap(),
	})
}

// serve runs until SIGTERM or SIGINT, then drains; a second signal ends it at
// once. SIGHUP reads the configuration again, all or nothing; it and SIGUSR1
// open the access logs anew, as whoever rotates them expects.
func serve(src configs.Source, opt appliance.Options) error {
	ctx, drain := context.WithCancelCause(context.Background())
	defer drain(nil)
	hard, kill := context.WithCancelCause(context.Background())
	defer kill(nil)
	signals, stop := notify()
	defer stop()

	a, err := appliance.New(src, opt)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	signals.watch(a.Live(), done, signalActions{ // ends with done
		reload: func() {
			if err := a.Reload(ctx); err != nil {
				opt.Log.Error("configuration refused, the old one stays", "err", err)
			}
		},
		reopen: func() {
			if err := a.ReopenLogs(); err != nil {
				opt.Log.Error("access logs", "err", err)
			}
		},
		drain: func(s os.Signal) { drain(fmt.Errorf("signal %v", s)) },
		kill:  func(s os.Signal) { kill(fmt.Errorf("second signal %v", s)) },
	})
	defer close(done)
	go keepIdleMemoryLow(done) // ends with done
	return a.Run(ctx, hard)
}

// newLogger makes the process's log, whose level an operator may change.
func newLogger(w io.Writer, level string) (*slog.Logger, *slog.LevelVar, error) {
	if level == "" {
		level = "info"
	}
	l, err := admin.ParseLevel(level)
	if err != nil {
		return nil, nil, usageError{fmt.Errorf("--log-level %w", err)}
	}
	v := new(slog.LevelVar)
	v.Set(l)
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: v})), v, nil
}
