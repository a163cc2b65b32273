// Command bench measures culvert. Its figures are ratios of subjects that were
// measured in turns on the same machine, and processor time that the kernel has
// charged; nothing of it judges in the tests.
//
//	bench [flags] run            the matrix of subjects and loads
//	bench [flags] check          whether it has become worse than a baseline
//	bench [flags] internal-hops  what internal listeners cost
package main

import (
	"context"
	"errors"
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
	if len(args) > 0 {
		switch args[0] { // the parts that it runs in other namespaces
		case "origin":
			return serveOrigin(ctx, args[1:])
		case "relay":
			return relay(ctx, args[1:])
		case "load":
			return applyLoad(ctx, args[1:], out)
		}
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	var o options
	flags.StringVar(&o.culvert, "culvert", "bin/culvert", "the `binary` to measure")
	flags.StringVar(&o.peers, "peers", "bench/out", "the `directory` of peers that are built, not installed")
	flags.IntVar(&o.rounds, "rounds", 7, "how often each subject is measured")
	flags.DurationVar(&o.duration, "duration", time.Second, "how long each measurement takes")
	flags.StringVar(&o.page, "page", "", "write a page with tables and charts to this `file`")
	flags.StringVar(&o.baseline, "baseline", "", "write a baseline for later runs to this `file`; of check: read it")
	flags.StringVar(&o.only, "only", "", "a `regular expression` for the names of subjects, or goals: what goals are about")
	flags.StringVar(&o.load, "load", "", "a `regular expression` for the names of loads")
	flags.BoolVar(&o.withoutMissing, "without-missing", false, "go on without programs that are not there")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch what := flags.Arg(0); what {
	case "run":
		return runMatrix(ctx, out, o)
	case "check":
		return check(ctx, out, o)
	case "internal-hops":
		return internalHops(ctx, out, o.culvert, o.rounds, o.duration)
	case "":
		flags.Usage()
		return errors.New("what shall be measured: run, check or internal-hops?")
	default:
		return fmt.Errorf("%q is nothing to measure: want run, check or internal-hops", what)
	}
}

// options are the command line's.
type options struct {
	culvert, peers string
	rounds         int
	duration       time.Duration
	only, load     string
	page, baseline string
	withoutMissing bool
}
