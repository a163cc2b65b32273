package subject

import (
	"fmt"

	"culvert/bench/world"
)

// Far is who goes over the link that is slow and loses packets.
func Far(c Commands) []Subject {
	tunnel := mode{HTTP2: true, TLS: true}
	return []Subject{
		{Name: "direct TCP, impaired link", Group: Impaired, start: func(s *scene) (Way, error) {
			return Way{Namespace: s.Here, Address: origin(world.FarGateway)}, nil
		}},
		{Name: "culvert, TUN, " + tunnel.String() + ", impaired link", Group: Impaired, start: func(s *scene) (Way, error) {
			if err := s.gateway(tunnel, world.FarGateway); err != nil {
				return Way{}, err
			}
			return captured(s), s.culvert(nearEnd{TUN: true, Tunnel: &tunnel, To: world.FarGateway, Port: gatewayPort})
		}},
		{Name: "tun2socks, HTTP proxy, impaired link", Group: Impaired, Missing: missing(c, "tun2socks"), start: func(s *scene) (Way, error) {
			if err := s.gateway(mode{}, world.FarGateway); err != nil {
				return Way{}, err
			}
			return s.tun2socks(fmt.Sprintf("http://%s:%d", world.FarGateway, gatewayPort))
		}},
	}
}
