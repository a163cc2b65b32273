package program

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Build builds culvert into dir as the Makefile does, and returns its path; where
// the tests look for races, the binary does too.
func Build(dir string) (path string, err error) {
	path = filepath.Join(dir, "culvert")
	args, cgo := []string{"build", "-o", path}, "CGO_ENABLED=0"
	if Race {
		args, cgo = append(args, "-race"), "CGO_ENABLED=1"
	}
	cmd := exec.Command("go", append(args, "culvert/cmd/culvert")...)
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build culvert: %w\n%s", err, out)
	}
	return path, nil
}
