package need

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Names of the two environment variables that steer what a missing need does.
const (
	// EnvAll set to 1 makes a missing need a failure.
	EnvAll = "CULVERT_TEST_ALL"
	// EnvSkipped names the file that collects one line per skipped test.
	EnvSkipped = "CULVERT_TEST_SKIPPED"
)

// test is what is asked of a testing.TB, so that this package can be tested.
type test interface {
	Helper()
	Name() string
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// demand ends the test if missing is an error: it skips, or fails where
// everything is demanded. what names the need in one or two words.
func demand(t test, what string, missing error) {
	t.Helper()
	if missing == nil {
		return
	}
	if os.Getenv(EnvAll) == "1" {
		t.Fatalf("need: %s: %v (%s=1 demands it)", what, missing, EnvAll)
		return
	}
	skip(t, what, missing.Error())
}

func skip(t test, what, why string) {
	t.Helper()
	line := fmt.Sprintf("need: %s: %s", what, why)
	if err := record(os.Getenv(EnvSkipped), t.Name(), line); err != nil {
		t.Fatalf("%s; and the skip cannot be recorded: %v", line, err)
		return
	}
	t.Skipf("%s", line)
}

// record appends one line to file. A single short append is atomic, so that
// packages tested at the same time may share the file.
func record(file, name, line string) error {
	if file == "" {
		return nil
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s %s: %s\n", filepath.Base(os.Args[0]), name, line)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// Long is for a test that takes more than a few seconds: it is left out under
// go test -short. That was asked for, so it is a skip even where every need is
// demanded.
func Long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		skip(t, "time", "left out by -short")
	}
}
