// Package peer is whom culvert is tested against: origin servers that check
// every byte, peers that end a connection in every way, an application that
// connects and notes what it was told, and HTTP/2 gateways that misbehave.
//
// Everything works on net.Listener and net.Conn, so that it runs on the
// loopback, on a host of a test topology, or over an in-memory pair.
//
//	want := peer.Stream{Seed: 1, Size: 1 << 30}
//	srv := peer.Serve(t, origin.Listen("tcp", "10.2.0.2:80"), peer.Exchange(want, peer.Stream{Seed: 2, Size: 1 << 30}))
//	...
//	err := peer.Exchange(peer.Stream{Seed: 2, Size: 1 << 30}, want)(ctx, conn)
package peer
