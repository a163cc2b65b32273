package subject

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"culvert/bench/world"

	"golang.org/x/sys/unix"
)

// Capturing is what else takes the packets of a program and makes connections
// of them.
func Capturing(c Commands) []Subject {
	return []Subject{
		{Name: "tun2socks, direct", Group: Capture, Missing: missing(c, "tun2socks"), start: func(s *scene) (Way, error) {
			return s.tun2socks("direct://")
		}},
		{Name: "tun2socks, HTTP proxy", Group: Whole, Missing: missing(c, "tun2socks"), start: func(s *scene) (Way, error) {
			// The fastest HTTP/1.1 proxy at hand.
			if err := s.gateway(mode{}); err != nil {
				return Way{}, err
			}
			return s.tun2socks(fmt.Sprintf("http://%s:%d", world.Gateway, gatewayPort))
		}},
		{Name: "sing-box, gvisor", Group: Capture, Missing: missing(c, "sing-box"), start: func(s *scene) (Way, error) { return s.singBox("gvisor") }},
		{Name: "sing-box, system", Group: Capture, Missing: missing(c, "sing-box"), start: func(s *scene) (Way, error) { return s.singBox("system") }},
		{Name: "slirp4netns", Group: Capture, Missing: missing(c, "slirp4netns"), start: func(s *scene) (Way, error) {
			way := Way{Namespace: s.App, Device: "slirp0", Address: origin(world.FromHere)}
			return way, s.run(s.Here, "slirp4netns", "slirp4netns", "--configure", "--mtu=65520", "--disable-dns",
				"--netns-type=path", s.App.Path(), way.Device)
		}},
		{Name: "pasta", Group: Capture, Missing: missing(c, "pasta"), start: (*scene).pasta},
	}
}

// missing is an error if a program is not there.
func missing(c Commands, name string) error {
	if path, ok := c[name]; ok {
		name = path
	}
	_, err := exec.LookPath(name)
	return err
}

// bound is the way of who is bound to a peer's TUN. The address is the origin's
// own, since the peer connects to whatever the program does.
func bound(s *scene) Way {
	return Way{Namespace: s.Here, Device: tunName, Address: origin(world.FromHere)}
}

func (s *scene) tun2socks(proxy string) (Way, error) {
	if err := s.run(s.Here, "tun2socks", "tun2socks", "-device", "tun://"+tunName, "-proxy", proxy, "-loglevel", "error"); err != nil {
		return Way{}, err
	}
	return bound(s), configureDevice(s.ctx, s.Here, tunName)
}

func (s *scene) singBox(stack string) (Way, error) {
	path, err := s.write("sing-box.json", singBoxConfig, map[string]string{"TUN": tunName, "Stack": stack})
	if err != nil {
		return Way{}, err
	}
	return bound(s), s.run(s.Here, "sing-box", "sing-box", "run", "-c", path)
}

// pasta gives up what it would take to open a namespace by a descriptor of ours:
// it wants a name.
func (s *scene) pasta() (Way, error) {
	way := Way{Namespace: s.App, Device: "pasta0", Address: origin(world.FromHere)}
	name := filepath.Join(s.running.dir, "app")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		return way, err
	}
	if err := unix.Mount(s.App.Path(), name, "", unix.MS_BIND, ""); err != nil {
		return way, fmt.Errorf("name a namespace: %w", err)
	}
	s.running.undo = append(s.running.undo, func() error { return unix.Unmount(name, unix.MNT_DETACH) })
	return way, s.run(s.Here, "pasta", "pasta", "--foreground", "--quiet", "--runas", "0", "--no-map-gw", "--config-net", "--ns-ifname", way.Device,
		"--interface", "uplink", "--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none", "--netns", name)
}

const singBoxConfig = `
{
  "log": {"level": "error"},
  "inbounds": [{
    "type": "tun", "interface_name": "{{.TUN}}", "address": ["198.18.0.1/30"],
    "auto_route": false, "stack": "{{.Stack}}"
  }],
  "outbounds": [{"type": "direct"}]
}
`
