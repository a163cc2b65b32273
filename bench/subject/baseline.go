package subject

import (
	"fmt"

	"culvert/bench/world"
)

// relayPort is where relays listen.
const relayPort = 9001

// Baselines are the kernel with nothing in the way, and the smallest relays
// there can be.
func Baselines() []Subject {
	one := func(how string) func(*scene) (Way, error) {
		return func(s *scene) (Way, error) {
			at := fmt.Sprintf("127.0.0.1:%d", relayPort)
			return Way{Namespace: s.Here, Address: at}, s.run(s.Here, "relay", "bench", "relay", how, at, origin(world.FromHere))
		}
	}
	two := func(how string) func(*scene) (Way, error) {
		return func(s *scene) (Way, error) {
			near, far := fmt.Sprintf("127.0.0.1:%d", relayPort), fmt.Sprintf("%s:%d", world.Gateway, relayPort)
			if err := s.run(s.Gateway, "second relay", "bench", "relay", how, far, origin(world.FromGateway)); err != nil {
				return Way{}, err
			}
			return Way{Namespace: s.Here, Address: near}, s.run(s.Here, "relay", "bench", "relay", how, near, far)
		}
	}
	return []Subject{
		{Name: "veth", Group: Relay, start: func(s *scene) (Way, error) {
			return Way{Namespace: s.Here, Address: origin(world.FromHere)}, nil
		}},
		{Name: "splice relay", Group: Relay, start: one("splice")},
		{Name: "copy relay", Group: Relay, start: one("copy")},
		// What culvert's flows end in, with nothing before it.
		{Name: "bare relay", Group: Relay, start: one("network")},
		{Name: "two splice relays", Group: Tunnel, Busy: true, start: two("splice")},
		{Name: "two copy relays", Group: Tunnel, start: two("copy")},
	}
}
