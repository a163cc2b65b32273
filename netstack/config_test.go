package netstack

import (
	"fmt"
	"testing"
)

func TestConfig(t *testing.T) {
	for i, c := range []Config{
		{MaxFlows: -1}, {MaxPendingConnects: -1}, {MaxPendingPerSource: -1},
		{MaxPendingConnects: maxSilent}, {UDPListener: "udp"},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			if _, err := New(c, Deps{}); err == nil {
				t.Error("accepted")
			}
		})
	}
	s, err := New(Config{}, Deps{}) // no device, never run
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}
