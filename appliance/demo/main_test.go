package demo

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"culvert/appliance"
	"culvert/configs"
	"culvert/test/leak"
)

// The demo starts its own binary with -c FILE; here that is this test.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "-c" {
		os.Exit(culvert(os.Args[2]))
	}
	leak.Main(m)
}

// culvert serves a configuration as the command does.
func culvert(path string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	a, err := appliance.New(configs.Source{Path: path}, appliance.Options{
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Stdout: os.Stdout, Stderr: os.Stderr, DrainTime: time.Second,
	})
	if err == nil {
		err = a.Run(ctx, context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
