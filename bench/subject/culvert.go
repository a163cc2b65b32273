package subject

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"culvert/appliance/host"
	"culvert/bench/process"
	"culvert/bench/world"
)

const (
	frontPort   = 9010 // where culvert listens for applications
	gatewayPort = 9011 // where its other end listens for tunnels
)

// mode is a way to carry a tunnel.
type mode struct {
	HTTP2, Post, TLS bool
}

func (m mode) String() string {
	name := "HTTP/1.1"
	if m.HTTP2 {
		name = "HTTP/2"
	}
	if m.Post {
		name += " POST"
	} else {
		name += " CONNECT"
	}
	if m.TLS {
		name += " over TLS"
	}
	return name
}

func modes() (all []mode) {
	for _, http2 := range []bool{false, true} {
		for _, post := range []bool{false, true} {
			for _, tls := range []bool{false, true} {
				all = append(all, mode{http2, post, tls})
			}
		}
	}
	return all
}

// Culvert is culvert in each of its shapes.
func Culvert() []Subject {
	direct := nearEnd{To: world.FromHere, Port: world.OriginPort}
	listens := func(s *scene) Way { return Way{Namespace: s.Here, Address: loopback(frontPort)} }
	all := []Subject{
		{Name: "culvert, tcp_proxy", Group: Relay, Idle: Idle{5_000, 2}, start: func(s *scene) (Way, error) {
			return listens(s), s.culvert(direct)
		}},
		{Name: "culvert, whole pipeline", Group: Relay, start: func(s *scene) (Way, error) {
			n := direct
			n.Log = s.running.dir + "/access.log"
			return listens(s), s.culvert(n)
		}},
		{Name: "culvert, TUN", Group: Capture, Idle: Idle{10_000, 1}, start: func(s *scene) (Way, error) {
			n := direct
			n.TUN = true
			return captured(s), s.culvert(n)
		}},
		{Name: "culvert, HTTP/1.1 CONNECT, ordinary user", Group: Tunnel, Idle: Idle{5_000, 2}, Busy: true, start: func(s *scene) (Way, error) {
			s.user = nobody
			return listens(s), s.pair(mode{}, false)
		}},
	}
	for _, m := range modes() {
		idle := Idle{5_000, 2} // the near end's flows, and the gateway's
		if m.HTTP2 {
			idle = Idle{10_000, 2} // culvert sees to it that each could have two
		}
		all = append(all,
			Subject{Name: "culvert, " + m.String(), Group: Tunnel, Idle: idle, start: func(s *scene) (Way, error) {
				return listens(s), s.pair(m, false)
			}},
			Subject{Name: "culvert, TUN, " + m.String(), Group: Whole, Idle: idle, start: func(s *scene) (Way, error) {
				return captured(s), s.pair(m, true)
			}})
	}
	return all
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// captured is the way of who is bound to a TUN; what is connected to there is
// never reached but through it.
func captured(s *scene) Way {
	return Way{Namespace: s.Here, Device: tunName, Address: "203.0.113.1:80"}
}

const tunName = "bench0"

// nearEnd is the configuration of the end that applications see.
type nearEnd struct {
	TUN    bool
	Tunnel *mode // nil: none
	To     string
	Port   int
	// Log is where flows are logged, which pass filter chains that are not theirs
	// before; empty: there is one chain, and no log.
	Log string
}

func (n nearEnd) Front() int      { return frontPort }
func (n nearEnd) Name() string    { return world.GatewayName }
func (n nearEnd) TUNName() string { return tunName }

// pair starts both ends of a tunnel.
func (s *scene) pair(m mode, tun bool) error {
	if err := s.gateway(m, world.Gateway); err != nil {
		return err
	}
	return s.culvert(nearEnd{TUN: tun, Tunnel: &m, To: world.Gateway, Port: gatewayPort})
}

// gateway starts the end at which tunnels come out, at one of the gateway's
// addresses.
func (s *scene) gateway(m mode, at string) error {
	path, err := s.write("gateway.yaml", gatewayConfig, map[string]any{
		"Mode": m, "At": at, "Port": gatewayPort, "Dir": s.Dir, "Origin": world.FromGateway, "OriginPort": world.OriginPort,
	})
	if err != nil {
		return err
	}
	return s.start(s.Gateway, "gateway", path)
}

func (s *scene) culvert(n nearEnd) error {
	path, err := s.write("culvert.yaml", strings.ReplaceAll(nearConfig, "DIR", s.Dir), n)
	if err != nil {
		return err
	}
	return s.start(s.Here, "culvert", path)
}

// start starts a culvert, as the scene's user.
func (s *scene) start(ns *host.Namespace, name, config string) error {
	if s.user == 0 {
		return s.run(ns, name, "culvert", "-c", config, "--drain-time-s", drains)
	}
	if err := s.open(config); err != nil {
		return err
	}
	return s.started(process.StartAs(s.user, ns, name, s.running.dir+"/culvert", "-c", config, "--drain-time-s", drains))
}

// drains is for how many seconds flows go on that are there in the end.
const drains = "2"

// nobody is a user who owns nothing.
const nobody = 65534

// open lets the scene's user read a configuration, and culvert's binary, which
// need not be where everybody may go.
func (s *scene) open(config string) error {
	binary := s.running.dir + "/culvert"
	if _, err := os.Stat(binary); errors.Is(err, fs.ErrNotExist) {
		content, err := os.ReadFile(s.path("culvert"))
		if err == nil {
			err = os.WriteFile(binary, content, 0o755)
		}
		if err != nil {
			return fmt.Errorf("culvert for everybody: %w", err)
		}
	}
	return errors.Join(os.Chmod(s.Dir, 0o711), os.Chmod(s.running.dir, 0o711), os.Chmod(config, 0o644))
}
