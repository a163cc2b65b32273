// Package tunneltest runs one test body in every mode that a tunnel has: an
// application's socket, a listener, tcp_proxy with tunneling_config, a cluster's
// pool, and a gateway that does what a script says.
//
//	application --TCP--> listener, tcp_proxy --a mode's CONNECT or POST--> gateway
//
//	tunneltest.ForEachMode(t, func(t *testing.T, m tunnel.Mode) {
//		gw := tunneltest.NewGateway(t, m, peer.EchoTunnel())
//		app := tunneltest.Start(t, gw, tunneltest.Options{}).App()
//		...
//	})
package tunneltest
