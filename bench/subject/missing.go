package subject

import (
	"fmt"
	"os/exec"
)

// sources are where programs come from.
var sources = map[string]string{
	"tun2socks":   "make bench/out/tun2socks",
	"sing-box":    "make bench/out/sing-box",
	"pasta":       "Debian's package passt",
	"slirp4netns": "Debian's package slirp4netns",
	"haproxy":     "Debian's package haproxy",
	"nghttpx":     "Debian's package nghttp2-proxy",
	"squid":       "Debian's package squid",
}

// missing is an error if a program is not there, with where it comes from.
func missing(c Commands, name string) error {
	path, ok := c[name]
	if !ok {
		path = name
	}
	if _, err := exec.LookPath(path); err != nil {
		return fmt.Errorf("%w: it comes from %s", err, sources[name])
	}
	return nil
}
