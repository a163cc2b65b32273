package tcpproxy

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/network"

	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
)

// A gateway that fails is one line for the operator in a while, a destination
// that refuses is none.
func TestOperatorIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cause error
		r := newRig(t, &tcpproxyv3.TcpProxy{}, func(context.Context, *network.StreamInfo) (network.Conn, network.Handler, error) {
			return nil, nil, cause
		})
		r.clusters["other"] = r.clusters["edge"]
		log := &syncBuffer{}
		deps := r.deps()
		deps.Log = slog.New(slog.NewTextHandler(log, nil))
		deps.Complaints = &network.Seldom{Every: ComplainEvery}
		serve := func(cluster string, err error) {
			t.Helper()
			p, perr := New(&tcpproxyv3.TcpProxy{StatPrefix: "t", ClusterSpecifier: &tcpproxyv3.TcpProxy_Cluster{Cluster: cluster}}, deps)
			if perr != nil {
				t.Fatal(perr)
			}
			cause = err
			f, _ := newFlow()
			if p.ServeFlow(context.Background(), f) == nil || f.rejected == nil {
				t.Error("the flow is served")
			}
		}
		lines := func(want ...string) {
			t.Helper()
			got := strings.Split(strings.TrimSpace(log.String()), "\n")
			if len(got) != len(want) {
				t.Fatalf("log %q, want %d lines", got, len(want))
			}
			for i, w := range want {
				if !strings.Contains(got[i], "level=WARN") || !strings.Contains(got[i], w) {
					t.Errorf("line %q, want %q", got[i], w)
				}
			}
		}
		serve("edge", network.WithReason(network.ReasonConnectionRefused, errors.New("refused there")))
		serve("edge", network.WithReason(network.ReasonGateway, errors.New("no gateway")))
		for range 5 {
			serve("edge", network.WithReason(network.ReasonGateway, errors.New("no gateway")))
		}
		serve("other", network.WithReason(network.ReasonOverflow, errors.New("full")))
		time.Sleep(ComplainEvery)
		serve("edge", network.WithReason(network.ReasonGateway, errors.New("still none")))
		lines("cluster=edge reason=\"gateway failure\"", "cluster=other reason=overflow", "err=\"still none\" suppressed=5")
	})
}
