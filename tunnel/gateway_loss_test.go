package tunnel_test

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"culvert/test/peer"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// D 25: a connection with 20 tunnels dies: every one ends with a reset, none
// stays.
func TestConnectionDiesWithTunnels(t *testing.T) {
	gw := gateway(t, nil, peer.EchoTunnel())
	c := start(t, gw.Addr(), options{format: "%RESPONSE_FLAGS%\n"})
	var apps []net.Conn
	for range 20 {
		app := c.app()
		roundTrip(t, app, "up")
		apps = append(apps, app)
	}
	gw.Close()
	for _, app := range apps {
		if _, err := app.Read(make([]byte, 1)); !isReset(err) {
			t.Errorf("an application sees %v", err)
		}
	}
	c.records(20)
	c.eventually("cluster.edge.upstream_cx_active", 0)
	c.eventually("cluster.edge.upstream_rq_active", 0)
	for c.flows.Len() != 0 {
		time.Sleep(time.Millisecond) // a flow leaves the table just behind its record
	}
}

// Behaviour: a gateway that vanishes without a word is noticed by PING, and its
// tunnels end with a reset. By default within 10 s; here sooner.
func TestGatewayVanishes(t *testing.T) {
	gw := gateway(t, nil, func(r *peer.Request) {
		_ = r.Respond(200, false)
		if _, err := r.Receive(); err != nil {
			return
		}
		_ = r.Send([]byte("x"), false)
		r.Vanish()
	})
	c := start(t, gw.Addr(), options{http2: &corev3.Http2ProtocolOptions{ConnectionKeepalive: &corev3.KeepaliveSettings{
		Interval: durationpb.New(100 * time.Millisecond), Timeout: durationpb.New(100 * time.Millisecond),
	}}})
	app := c.app()
	roundTrip(t, app, "x")
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	done := make(chan error, 1)
	go func() { _, err := app.Read(make([]byte, 1)); done <- err }() // ends with the connection
	select {
	case err := <-done:
		if !isReset(err) {
			t.Errorf("the application sees %v", err)
		}
	case <-ctx.Done():
		t.Error("nobody noticed")
	}
	if got := c.value("cluster.edge.http2.keepalive_timeout"); got != 1 {
		t.Errorf("keepalive_timeout %d", got)
	}
}

// The gateway is not there, or not who it should be.
func TestGatewayDown(t *testing.T) {
	ca, other := peer.NewCA(t), peer.NewCA(t)
	served := &tls.Config{Certificates: []tls.Certificate{ca.Issue("gw.example")}, NextProtos: []string{"h2"}}
	http1 := &tls.Config{Certificates: []tls.Certificate{ca.Issue("gw.example")}, NextProtos: []string{"http/1.1"}}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	tests := []struct {
		name string
		addr string
		tls  *tlsv3.UpstreamTlsContext
	}{
		{"nobody listens", closed.Addr().String(), nil},
		{"another CA", gateway(t, served, peer.EchoTunnel()).Addr(), trusting(other, "gw.example")},
		{"another protocol", gateway(t, http1, peer.EchoTunnel()).Addr(), trusting(ca, "gw.example")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := start(t, tt.addr, options{tls: tt.tls, format: "%RESPONSE_FLAGS%\n"})
			if err := c.refused(""); !isReset(err) {
				t.Errorf("the application sees %v", err)
			}
			if got := c.records(1); got != "UF,URX\n" {
				t.Errorf("record %q", got)
			}
			c.eventually("cluster.edge.upstream_cx_connect_fail", 1)
			for len(c.flows.Ended()) == 0 {
				time.Sleep(time.Millisecond) // just behind its record
			}
			if got := c.flows.Ended()[0].Snapshot().Verdict; got != "net unreachable" {
				t.Errorf("verdict %q: a gateway that is down is not a destination that refuses", got)
			}
		})
	}
}
