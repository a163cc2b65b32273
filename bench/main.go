// Command bench measures culvert. Its figures are ratios of subjects that were
// measured in turns on the same machine, and processor time that the kernel has
// charged; nothing of it judges in the tests.
//
//	bench [flags] internal-hops
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	binary := flags.String("culvert", "bin/culvert", "the `binary` to measure")
	rounds := flags.Int("rounds", 7, "how often each subject is measured")
	duration := flags.Duration("duration", 2*time.Second, "how long each measurement takes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch what := flags.Arg(0); what {
	case "internal-hops":
		return internalHops(ctx, out, *binary, *rounds, *duration)
	default:
		return fmt.Errorf("%q is nothing to measure: want internal-hops", what)
	}
}
