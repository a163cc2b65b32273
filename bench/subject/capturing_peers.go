package subject

import (
	"fmt"
	"os"
	"path/filepath"

	"culvert/bench/world"

	"golang.org/x/sys/unix"
)

// Capturing is what else takes the packets of a program and makes connections
// of them.
func Capturing(c Commands) []Subject {
	idle := Idle{10_000, 1}
	return []Subject{
		{Name: "tun2socks, direct", Group: Capture, Idle: idle, Missing: missing(c, "tun2socks"), start: func(s *scene) (Way, error) {
			return s.tun2socks("direct://")
		}},
		{Name: "tun2socks, HTTP proxy", Group: Whole, Missing: missing(c, "tun2socks"), start: func(s *scene) (Way, error) {
			// The fastest HTTP/1.1 proxy at hand.
			if err := s.gateway(mode{}, world.Gateway); err != nil {
				return Way{}, err
			}
			return s.tun2socks(fmt.Sprintf("http://%s:%d", world.Gateway, gatewayPort))
		}},
		{Name: "tun2socks, SOCKS5", Group: Whole, Missing: missing(c, "tun2socks"), start: func(s *scene) (Way, error) {
			at := fmt.Sprintf("%s:%d", world.Gateway, relayPort)
			if err := s.run(s.Gateway, "SOCKS5 server", "bench", "relay", "socks5", at, origin(world.FromGateway)); err != nil {
				return Way{}, err
			}
			return s.tun2socks("socks5://" + at)
		}},
		{Name: "sing-box, gvisor", Group: Capture, Idle: idle, Missing: missing(c, "sing-box"), start: func(s *scene) (Way, error) { return s.singBox("gvisor", 65535) }},
		{Name: "sing-box, gvisor, MTU 9000", Group: Capture, Missing: missing(c, "sing-box"), start: func(s *scene) (Way, error) { return s.singBox("gvisor", 9000) }},
		{Name: "sing-box, system", Group: Capture, Idle: idle, Missing: missing(c, "sing-box"), start: func(s *scene) (Way, error) { return s.singBox("system", 65535) }},
		{Name: "slirp4netns", Group: Capture, Missing: missing(c, "slirp4netns"), start: func(s *scene) (Way, error) {
			way := Way{Namespace: s.App, Device: "slirp0", Address: origin(world.FromHere)}
			return way, s.run(s.Here, "slirp4netns", "slirp4netns", "--configure", "--mtu=65520", "--disable-dns",
				"--netns-type=path", s.App.Path(), way.Device)
		}},
		{Name: "pasta", Group: Capture, Missing: missing(c, "pasta"), start: (*scene).pasta},
	}
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

// singBox has its own default MTU, 65535, or one up to 49151, with which its
// gvisor stack uses the device's segmentation offload.
func (s *scene) singBox(stack string, mtu int) (Way, error) {
	path, err := s.write("sing-box.json", singBoxConfig, map[string]any{"TUN": tunName, "Stack": stack, "MTU": mtu})
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
    "auto_route": false, "stack": "{{.Stack}}", "mtu": {{.MTU}}
  }],
  "outbounds": [{"type": "direct"}]
}
`
