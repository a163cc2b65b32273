// Command culvert is the one binary: serve a configuration, validate it, show
// the demo. Each command parses its flags and calls one function.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is stamped by the Makefile; go install leaves it to the build info.
var version = ""

// Exit codes.
const (
	exitFailed = 1 // what was asked for did not work
	exitUsage  = 2 // it was not asked for properly
)

// usageError is a mistake in the command line itself.
type usageError struct{ error }

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(context.Background())
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "culvert: %v\nsee culvert --help\n", err)
		return exitUsage
	default:
		fmt.Fprintf(stderr, "culvert: %v\n", err)
		return exitFailed
	}
}

func rootCommand() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "culvert -c FILE",
		Short: "carry TCP through HTTP tunnels: capture, tunnel, terminate",
		Long: `culvert captures TCP from a TUN device, carries each flow through an HTTP CONNECT
tunnel and takes the tunnel apart again. Its configuration is Envoy's v3 bootstrap.`,
		Args:          noArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.register(cmd.Flags())
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	cmd.AddCommand(validateCommand(), demoCommand(), versionCommand())
	cmd.CompletionOptions.HiddenDefaultCmd = true
	return cmd
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown command or argument %q for %q", args[0], cmd.CommandPath())}
	}
	return nil
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print the version", Args: noArgs,
		Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), versionLine()) },
	}
}

func versionLine() string { return "culvert " + versionString() }

// versionString is the stamped version, else the module's, else devel.
func versionString() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
