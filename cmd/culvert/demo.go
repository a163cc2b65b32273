package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"culvert/appliance/demo"
	"culvert/appliance/host"

	"github.com/spf13/cobra"
)

func demoCommand() *cobra.Command {
	var broken string
	var inside bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "see it all work in under a minute, in namespaces of its own; nothing on this host changes",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := demo.ParseBreak(broken)
			if err != nil {
				return usageError{err}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			switch {
			case inside:
				return demoInside(ctx, cmd, b)
			case os.Geteuid() == 0:
				return demo.Run(ctx, cmd.OutOrStdout(), b)
			}
			return demoReexec(ctx, cmd, broken)
		},
	}
	cmd.Flags().StringVar(&broken, "break", "", "break something on purpose: gateway, sha or refuse; the demo must notice")
	cmd.Flags().BoolVar(&inside, "inside", false, "")
	_ = cmd.Flags().MarkHidden("inside")
	return cmd
}

// demoReexec runs the demo as an ordinary user: again, inside user and network
// namespaces where that user may make devices.
func demoReexec(ctx context.Context, cmd *cobra.Command, broken string) error {
	if err := host.ProbeUserNS(); err != nil {
		return err
	}
	inner, err := host.Reexec{
		Args: []string{"demo", "--inside", "--break=" + broken}, Mount: true,
		Stdout: cmd.OutOrStdout(), Stderr: cmd.ErrOrStderr(),
	}.Start(ctx)
	if err != nil {
		return err
	}
	select {
	case <-inner.Done():
	case <-ctx.Done():
	}
	if err := inner.Stop(context.WithoutCancel(ctx)); err != nil {
		return errors.New("the demo did not hold")
	}
	return nil
}

func demoInside(ctx context.Context, cmd *cobra.Command, b demo.Break) error {
	parent, err := host.JoinParent(ctx)
	if err != nil {
		return err
	}
	defer parent.Close()
	if err := host.ProbeTUN(); err != nil {
		return errors.Join(err, parent.Failed(err))
	}
	if err := parent.Ready(); err != nil {
		return err
	}
	return demo.Run(parent.Context(), cmd.OutOrStdout(), b)
}
