package router

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/proxy/codec"
	"culvert/proxy/httpfilter/streamtest"
	"culvert/proxy/network"
)

// refusal is a proxy's no.
type refusal struct {
	status int
	header codec.Fields
}

func (e refusal) Error() string                 { return "refused" }
func (e refusal) Refusal() (int, codec.Fields)  { return e.status, e.header }
func (e refusal) Flag() network.Flag            { return network.FlagUF }
func (e refusal) ConnectReason() network.Reason { return network.ReasonGateway }
func (e refusal) TransportFailure() string      { return fmt.Sprintf("tunnel_response:%d", e.status) }

// The status with which a proxy on the way refused our CONNECT is the client's,
// whatever it had asked for; an answer that is no refusal is none.
func TestRefusedConnectIsPassedBack(t *testing.T) {
	challenge := codec.Fields{{Name: "Proxy-Authenticate", Value: "Basic realm=x"}, {Name: "Set-Cookie", Value: "a=b"}}
	for answered, want := range map[int]struct {
		status int
		header codec.Fields
	}{
		407: {407, codec.Fields{{Name: "proxy-authenticate", Value: "Basic realm=x"}}},
		404: {404, codec.Fields{{Name: "proxy-authenticate", Value: "Basic realm=x"}}},
		599: {599, codec.Fields{{Name: "proxy-authenticate", Value: "Basic realm=x"}}},
		302: {503, nil},
		204: {503, nil},
	} {
		err := fmt.Errorf("dial cluster: %w", refusal{answered, challenge})
		for name, c := range map[string]struct {
			route string
			req   *codec.Request
		}{
			"terminated CONNECT": {terminateRoute, connect()},
			"proxied CONNECT":    {connectRoute, connect()},
			"request":            {plainRoute, get()},
		} {
			t.Run(fmt.Sprintf("%d %s", answered, name), func(t *testing.T) {
				x, _ := routed(t, c.route, c.req)
				r := reply(t, newRouter(t, failing(t, err), nil).RoundTrip(t.Context(), x, nil))
				if r.Status != want.status || !cmp.Equal(r.Header, want.header) || r.Flags != network.FlagUF {
					t.Errorf("%d %v %v, want %d %v", r.Status, r.Header, r.Flags, want.status, want.header)
				}
				if !strings.HasSuffix(r.Details, fmt.Sprintf("|tunnel_response:%d}", answered)) {
					t.Errorf("details %q", r.Details)
				}
			})
		}
	}
}

// failing is a cluster that reaches nothing.
func failing(t *testing.T, err error) *fakeCluster {
	return &fakeCluster{
		t: t,
		open: func(context.Context, *network.StreamInfo) (network.Conn, network.Handler, error) {
			return nil, nil, err
		},
		stream: func(context.Context, *codec.Request, *network.StreamInfo) (codec.ClientStream, error) {
			return nil, err
		},
	}
}

// The cluster learns of what its endpoints answered, and of answers that did not
// come in time; not of what was answered here.
func TestClusterLearnsOfAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		up   func(*streamtest.Server)
		want []int
	}{
		"answered": {answer(204, ""), []int{204}},
		"behind informational heads": {func(s *streamtest.Server) {
			_ = s.WriteResponse(&codec.Response{Status: 103})
			answer(503, "")(s)
		}, []int{503}},
		"too late": {func(s *streamtest.Server) { <-s.Context().Done() }, []int{0}},
		"reset": {func(s *streamtest.Server) {
			s.Reset(codec.CodeInternal, errors.New("broken"))
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := upstream(t, c.up)
				x, _ := routed(t, `{"match":{"prefix":"/"},"route":{"cluster":"c","timeout":"1s"}}`, get())
				_ = newRouter(t, cluster, nil).RoundTrip(t.Context(), x, nil)
				if x.Upstream.Stream != nil {
					_ = x.Upstream.Stream.Close()
				}
				time.Sleep(time.Second) // whatever else might come
				cluster.mu.Lock()
				defer cluster.mu.Unlock()
				if !cmp.Equal(cluster.statuses, c.want) {
					t.Errorf("told of %v, want %v", cluster.statuses, c.want)
				}
			})
		})
	}
}
