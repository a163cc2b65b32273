// Package appliance puts culvert together: it turns a configuration into
// running objects, and owns what outlives a configuration. It is the only
// package that knows all the others.
//
// What follows is the life of a flow: one connection of one program, from the
// SYN it sends to the last byte it reads, stop by stop. Each stop names the
// file and the functions to read there; a test keeps the names true. Read them
// side by side with this page, in this order, and in twenty minutes you have
// seen how culvert works. Three ideas carry all of it:
//
//   - Arrivals are all the same. A captured SYN, an accepted socket, a CONNECT
//     request and a dial of an internal listener are each a network.Flow that
//     nobody has answered yet.
//   - Departures are all the same. A TCP connection, an HTTP tunnel and an
//     internal listener are each behind one Open.
//   - Blocking is the control flow. A function that waits for the far end has
//     simply not returned.
//
// # Before the first packet
//
//	cmd/culvert/main.go: run
//	cmd/culvert/serve.go: serveFlags.run, serve
//	cmd/culvert/signals.go: notify, processSignals.watch
//
// The command parses flags and calls one function. A first signal drains, a
// second one ends, SIGHUP reloads, SIGUSR1 opens logs anew.
//
//	configs/load.go: Load
//	configs/check.go: Document.Check
//	appliance/appliance.go: New, Appliance.load
//	appliance/build.go: Appliance.build
//	appliance/extensions.go: builder.networkFilter, builder.httpFilter, builder.bootstrapExtension
//	appliance/wholeness.go: builder.wholeness
//
// YAML becomes validated Envoy messages, and every field that nothing reads is
// an error. build then makes a generation of them: clusters, listeners, filters
// and what introduces them to each other, all the wiring on one screen. Nothing
// is open yet, so a configuration that fails here has touched nothing.
//
//	appliance/lifecycle.go: Appliance.Run, Appliance.drain
//	appliance/generation.go: generation.bind, generation.retire, generation.finish
//	appliance/sockets.go: sockets.listen
//	appliance/swap.go: Appliance.Swap
//
// Run binds the sockets, fills the registry of internal listeners, starts the
// generation and opens the devices. A reload builds and binds the next
// generation beside the running one, over shared sockets, and only then retires
// the old one, whose flows go on until they end.
//
// # 1. A packet becomes a flow
//
//	appliance/tun.go: Appliance.openTun
//	netstack/tundev/device_linux.go: Device.Read
//	netstack/link/receive.go: Endpoint.Pump, Endpoint.receive
//	netstack/stack.go: Stack.Run
//
// An application connects; its routes lead to the TUN. The pump reads whole
// superpackets with their virtio headers and hands them to gVisor's stack.
//
//	netstack/capture.go: gate.handle, gate.syn, gate.admitLocked
//	netstack/backlog.go: backlog.push, backlog.next
//	netstack/flow.go: newFlow, flow.serve, flow.begin
//
// A SYN that no endpoint claims comes to the gate, which tells a new connect
// from a retransmission, keeps its limits and the SYN's bytes, and when it is the
// connect's turn serves the flow on a goroutine. The SYN is not answered: the
// application's connect() waits.
//
//	internal-listeners/registry.go: Registry.Lookup
//
// The name in tcp_listener finds the handler of the running generation. The
// flow itself is handed on, not copied through a pipe.
//
// # 2. A flow meets a filter chain
//
//	appliance/gate.go: gate.guard
//	proxy/listener/listener.go: Listener.ServeFlow, Listener.match
//	proxy/listener/matcher.go: matchChain
//
// The generation counts the flow in, so that it does not end under it. The
// listener picks a filter chain by where the flow is going to and where it came
// from. A flow that a kernel socket accepted arrives at the same place:
//
//	proxy/listener/accept.go: Listener.Serve, Listener.serveConn
//
// # 3. A filter picks a cluster
//
//	proxy/tcpproxy/session.go: TCPProxy.ServeFlow, session.serve, session.connect, session.relay
//	proxy/tcpproxy/tcpproxy.go: TCPProxy.open
//	proxy/tcpproxy/tunneling.go: tunneling.head
//
// session.serve is the heart of it, in one order that everything keeps: open
// the far half; then answer the flow, yes or no; then relay. Each attempt picks
// a cluster anew. With tunneling_config the far half is a tunnel.
//
// # 4. A cluster opens a stream
//
//	tunnel/dialer.go: Dialer.Open, Dialer.ask, Dialer.awaitAnswer
//	proxy/cluster/cluster.go: Cluster.OpenStream, Cluster.pick
//	proxy/cluster/pool.go: pool.open, pool.place, pool.dial
//	proxy/cluster/spread.go: pool.chooseLocked, pool.holdLocked, pool.growLocked
//	proxy/cluster/connector.go: sockets.Connect
//	proxy/transport/transport.go: NewUpstream
//	proxy/codec/h2/client.go: ClientConn.OpenStream, clientStream.ReadResponse
//
// The dialer sends a CONNECT on a stream of a pooled connection to the gateway,
// which is dialled and wrapped in TLS if there is none, and waits for the head
// of the answer. To a gateway that is far away there are several connections.
// The application still waits in connect().
//
// # 5. At the far end: a stream becomes a flow again
//
//	proxy/listener/transport.go: Listener.wrap
//	proxy/hcm/hcm.go: HCM.ServeFlow, connection.serveStream
//	proxy/codec/h2/server.go: ServeConn
//	proxy/hcm/exchange.go: exchange.serve, exchange.answer, exchange.respond
//	proxy/hcm/admit.go: exchange.admit
//	proxy/route/table.go: Table.Match
//
// The gateway is culvert too. Its listener took the TLS off; the connection
// manager serves HTTP/2 on what is inside, one goroutine a stream. The route
// allows the CONNECT and names the cluster, the filters run, the router last.
//
//	proxy/httpfilter/router/router.go: Router.RoundTrip
//	proxy/httpfilter/router/terminate.go: Router.terminate
//	proxy/cluster/cluster.go: Cluster.OpenFor
//	proxy/cluster/egress.go: newEgressPolicy
//
// Where connect_config says so the tunnel ends here: the router connects to the
// origin, through the policy on targets that a client chose, and only then is
// there a 200. An endpoint that is an internal listener gets the CONNECT as an
// unanswered flow, and the walk begins anew at stop 2 on what is inside the
// tunnel:
//
//	tunnel/terminate.go: Serve
//
// # 6. The answer travels back
//
//	proxy/network/reason.go: ReasonFor
//	proxy/httpfilter/router/failure.go: connectFailed
//	tunnel/proxy_status.go: ProxyStatus, ParseProxyStatus
//	tunnel/error.go: StatusError
//	netstack/flow.go: flow.Accept, flow.Reject
//	netstack/handshake.go: Stack.handshake
//	netstack/verdict.go: Stack.sendVerdict
//
// A 200 becomes Accept, and Accept the SYN-ACK: connect() returns. A failure
// keeps its reason over every hop: the error's, a status with a Proxy-Status,
// the error's again, then a RST, an ICMP message that quotes the SYN, or
// silence. What the application is told is what happened to the origin.
//
// # 7. Bytes move until both sides are done
//
//	proxy/network/relay.go: Relay
//	proxy/network/relay_half.go: relay.run, half.ended
//	proxy/network/relay_path.go: choosePath
//	proxy/network/splice_linux.go: splicePath.move
//	netstack/conn_chunk.go: conn.PollChunk, conn.WriteChunk
//	proxy/codec/h2/stream.go: stream.PollChunk, stream.WriteChunk
//	proxy/hcm/far_half.go: exchange.relayTunnel
//
// Relay is the only place that moves, counts, times and ends a flow; here and
// at the far end it is the same function. Between kernel sockets bytes stay in
// the kernel; everywhere else they go in chunks that change hands. Where the
// source is the stack's or a stream of HTTP/2, nobody waits for it: it calls when
// there is something to move, and an idle captured flow is one goroutine. An end
// of one direction is passed on while the other flows; a reset is passed on as a
// reset.
//
// # 8. What can be seen of it
//
//	proxy/network/streaminfo.go: StreamInfo, StreamInfo.Mark
//	proxy/network/flowtable.go: FlowTable.Add, FlowTable.Remove
//	appliance/admin/flows.go: status
//	proxy/accesslog/accesslog.go: Logger.Log
//	appliance/server_stats.go: Appliance.exportServer
//
// Each flow's StreamInfo notes its steps as it passes these stops. /flows shows
// it while it lives and for a while after; its end is one access-log record.
package appliance
