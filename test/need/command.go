package need

import (
	"fmt"
	"os/exec"
	"testing"
)

// Command is for a test that runs a program of the system, found in PATH. It
// returns the program's absolute path.
func Command(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		err = fmt.Errorf("command %q is not in PATH", name)
	}
	demand(t, name, err)
	return path
}
