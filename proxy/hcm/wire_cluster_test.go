package hcm

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"

	"culvert/proxy/cluster"
	"culvert/proxy/httpfilter/router"
	"culvert/proxy/network"
	"culvert/proxy/stats"
)

var _ router.Cluster = (*cluster.Cluster)(nil)

// realCluster is a cluster that runs until the test ends.
func realCluster(t *testing.T, text string) *cluster.Cluster {
	t.Helper()
	return clusterIn(t, stats.NewStore(), text)
}

// clusterIn is realCluster that counts in a store of the test's.
func clusterIn(t *testing.T, store *stats.Store, text string) *cluster.Cluster {
	t.Helper()
	m := &clusterv3.Cluster{}
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	if m.ConnectTimeout == nil {
		m.ConnectTimeout = durationpb.New(soon)
	}
	c, err := cluster.New(m, cluster.Deps{Stats: store, Flows: network.NewFlowTable()})
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
	client := w.xnet()
	for authority, want := range map[string]struct {
		status int
		token  string
	}{
		ln.Addr().String():      {200, ""},
		"foo.lyft.com:80":       {503, "destination_unavailable"},
		"169.254.169.254:80":    {403, "destination_ip_prohibited"},
		"[::ffff:10.0.0.1]:443": {403, "destination_ip_prohibited"},
	} {
		pr, pw := io.Pipe()
		res := w.do(client, "CONNECT", authority, pr)
		if res.StatusCode != want.status || !strings.Contains(res.Header.Get("proxy-status"), want.token) {
			t.Errorf("%s: %d %v, want %d %s", authority, res.StatusCode, res.Header, want.status, want.token)
		}
		if res.StatusCode == 200 {
			mustWrite(t, pw, "ping")
			mustRead(t, res.Body, "ping")
			_ = pw.Close()
			mustEnd(t, res.Body)
		}
		_ = res.Body.Close()
	}
}
