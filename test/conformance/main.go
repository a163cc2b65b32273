package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
)

func main() {
	read := flag.Bool("read", false, "read `go test -json` from standard input instead of running the tests")
	command := flag.String("go", "go", "the go command")
	flag.Parse()
	good, err := run(*command, *read, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if !good {
		os.Exit(1)
	}
}

// run prints the account. It is called in the module's directory.
func run(command string, read bool, out io.Writer) (good bool, err error) {
	list, err := parseBehaviours(behavioursText)
	if err != nil {
		return false, fmt.Errorf("behaviours.md: %w", err)
	}
	exemptions, err := parseExemptions(exemptionsText, list)
	if err != nil {
		return false, fmt.Errorf("not_applicable.md: %w", err)
	}
	var res *results
	if read {
		res, err = readResults(os.Stdin)
	} else {
		res, err = test(command, list)
	}
	if err != nil {
		return false, err
	}
	a := judge(list, exemptions, res)
	a.write(out)
	return a.good(), nil
}

// test runs the tests that go by ids.
func test(command string, list []behaviour) (*results, error) {
	sources, err := readSources(".", list)
	if err != nil {
		return nil, err
	}
	args := append([]string{"test", "-json", "-count=1", "-run", sources.regexp()}, sources.packages...)
	cmd := exec.Command(command, args...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("run the tests: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("run the tests: %w", err)
	}
	res, err := readResults(stdout)
	waited := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(waited, &exit) && (len(res.leaves) > 0 || len(res.broken) > 0) {
		waited = nil // failures are in the account
	}
	return res, errors.Join(err, waited)
}
