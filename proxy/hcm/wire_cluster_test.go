package hcm

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"culvert/proxy/cluster"
	"culvert/proxy/codec"
	"culvert/proxy/httpfilter/router"
	"culvert/proxy/network"
	"culvert/proxy/stats"
)

var _ router.Cluster = (*cluster.Cluster)(nil)

// realCluster is a cluster that runs until the test ends.
func realCluster(t *testing.T, text string) *cluster.Cluster {
	t.Helper()
	m := &clusterv3.Cluster{}
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	c, err := cluster.New(m, cluster.Deps{Stats: stats.NewStore(), Flows: network.NewFlowTable()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Run(ctx) }) // ends with ctx
	t.Cleanup(func() { cancel(); wg.Wait() })
	return c
}

// E25: the authority is the target, where it is an address; a name is not.
func TestE25OnTheWire(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { // ends with the one connection
		c, err := ln.Accept()
		if err == nil {
			echo(c.(*net.TCPConn))
			_ = c.Close()
		}
	})
	defer wg.Wait()
	defer ln.Close()
	c := realCluster(t, `{"name":"c","type":"ORIGINAL_DST","lb_policy":"CLUSTER_PROVIDED",
		"original_dst_lb_config":{"use_http_header":true,"http_header_name":":authority"}}`)
	w := serve(t, with(terminateRoute, ""), c, true)
	cc := w.client()
	for authority, want := range map[string]struct {
		status int
		token  string
	}{
		ln.Addr().String():      {200, ""},
		"foo.lyft.com:80":       {503, "destination_unavailable"},
		"169.254.169.254:80":    {403, "destination_ip_prohibited"},
		"[::ffff:10.0.0.1]:443": {403, "destination_ip_prohibited"},
	} {
		s, err := cc.OpenStream(t.Context(), &codec.Request{Method: "CONNECT", Authority: authority})
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.ReadResponse(t.Context())
		if err != nil || res.Status != want.status || !strings.Contains(res.Header.Get("proxy-status"), want.token) {
			t.Errorf("%s: %+v %v, want %d %s", authority, res, err, want.status, want.token)
		}
		if res != nil && res.Status == 200 {
			mustWrite(t, s, "ping")
			mustRead(t, s, "ping")
			_ = s.CloseWrite()
			mustEnd(t, s)
		}
		_ = s.Close()
	}
}
