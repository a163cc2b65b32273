package demo

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// client is the application that downloads: curl where there is one, else a
// client of our own.
type client struct {
	name string
	show func(url string) string
	get  func(ctx context.Context, url string) (hash, error)
}

func (d *demo) client() client {
	if path, err := exec.LookPath("curl"); err == nil {
		return client{"curl", func(url string) string { return "curl -sS " + url + " | sha256sum" }, d.curl(path)}
	}
	return client{"the built-in client", func(url string) string { return "GET " + url }, func(ctx context.Context, url string) (hash, error) {
		return fetch(ctx, d.w.app.DialContext, url)
	}}
}

// curl runs the real one in the application's namespace.
func (d *demo) curl(path string) func(context.Context, string) (hash, error) {
	return func(ctx context.Context, url string) (hash, error) {
		cmd := exec.CommandContext(ctx, path, "-sS", "--fail", "--noproxy", "*", "--connect-timeout", "10", url)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			return hash{}, err
		}
		if err := d.w.app.Start(cmd); err != nil {
			return hash{}, err
		}
		got, err := digestOf(out)
		if werr := cmd.Wait(); werr != nil {
			err = errors.Join(fmt.Errorf("%w: %s", werr, strings.TrimSpace(stderr.String())), err)
		}
		return got, err
	}
}
