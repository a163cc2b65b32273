package main

import (
	"errors"
	"fmt"
	"io"

	"culvert/appliance"
	"culvert/configs"

	"github.com/spf13/cobra"
)

func validateCommand() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "validate -c FILE",
		Short: "check a configuration: every error at once, each with its place and its fix",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			src, err := f.source()
			if err != nil {
				return err
			}
			return validate(cmd.OutOrStdout(), cmd.ErrOrStderr(), src)
		},
	}
	f.registerConfig(cmd.Flags())
	return cmd
}

// errInvalid ends validate after the problems are printed.
var errInvalid = errors.New("the configuration cannot be used")

func validate(stdout, stderr io.Writer, src configs.Source) error {
	warnings, problems := appliance.Validate(src)
	for _, p := range warnings {
		fmt.Fprintf(stderr, "warning: %s\n", p)
	}
	for _, p := range problems {
		fmt.Fprintf(stderr, "error: %s\n", p)
	}
	switch n := len(problems); {
	case n == 1:
		return fmt.Errorf("%w: 1 error", errInvalid)
	case n > 1:
		return fmt.Errorf("%w: %d errors", errInvalid, n)
	}
	fmt.Fprintf(stdout, "configuration '%s' OK\n", src.Path)
	return nil
}
