package listener

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"culvert/proxy/listenerfilter"
	"culvert/proxy/network"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	origdstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	ppv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

func filterOf(t *testing.T, m proto.Message) *listenerv3.ListenerFilter {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return &listenerv3.ListenerFilter{Name: "lf", ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: a}}
}

// inspecting runs a listener on a loopback socket until the test ends.
func inspecting(t *testing.T, m *listenerv3.Listener, h handlers) (addr string, l *Listener) {
	t.Helper()
	m.Name, m.Address = "l", socketAddress("127.0.0.1", 0)
	l, err := New(m, testDeps(h))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- l.Serve(ctx, ln) }() // ends when ctx does, below
	t.Cleanup(func() { cancel(); <-done })
	return ln.Addr().String(), l
}

// What a PROXY header says is known before a chain is chosen, and is no payload.
func TestProxyHeaderBeforeTheChain(t *testing.T) {
	got := make(chan string, 1)
	addr, _ := inspecting(t, &listenerv3.Listener{
		ListenerFilters: []*listenerv3.ListenerFilter{filterOf(t, &ppv3.ProxyProtocol{})},
		FilterChains:    []*listenerv3.FilterChain{chainOf("told", &listenerv3.FilterChainMatch{DestinationPort: u32(2000)})},
	}, handlers{"f": func(ctx context.Context, f network.Flow) error {
		c, err := f.Accept(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		b, err := io.ReadAll(c)
		got <- f.Info().FilterChain + " " + f.Info().RemoteAddress.String() + " " + string(b)
		return err
	}})
	c := dial(t, addr)
	_, _ = io.WriteString(c, "PROXY TCP4 192.0.2.1 192.0.2.2 1000 2000\r\nhello")
	_ = c.CloseWrite()
	if s := <-got; s != "told 192.0.2.1:1000 hello" {
		t.Errorf("the filter saw %q", s)
	}
}

// A header that is none ends the connection, as does one that does not come,
// unless the listener goes on without.
func TestListenerFiltersThatFail(t *testing.T) {
	for _, c := range []struct {
		name, sent string
		goOn       bool
		counter    string
	}{
		{"malformed", "GET / HTTP/1.1\r\n\r\n", false, "downstream_listener_filter_error"},
		{"malformed, going on", "GET / HTTP/1.1\r\n\r\n", true, "downstream_listener_filter_error"},
		{"silent", "PRO", false, "downstream_pre_cx_timeout"},
		{"silent, going on", "PRO", true, "downstream_pre_cx_timeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			served := make(chan string, 1)
			addr, l := inspecting(t, &listenerv3.Listener{
				ListenerFilters:        []*listenerv3.ListenerFilter{filterOf(t, &ppv3.ProxyProtocol{})},
				ListenerFiltersTimeout: durationpb.New(100 * time.Millisecond), ContinueOnListenerFiltersTimeout: c.goOn,
				FilterChains: []*listenerv3.FilterChain{chainOf("c", nil)},
			}, handlers{"f": func(ctx context.Context, f network.Flow) error {
				conn, err := f.Accept(ctx)
				if err != nil {
					return err
				}
				defer conn.Close()
				b := make([]byte, len(c.sent))
				_, err = io.ReadFull(conn, b)
				served <- string(b)
				return err
			}})
			conn := dial(t, addr)
			_, _ = io.WriteString(conn, c.sent)
			_, err := conn.Read(make([]byte, 1))
			if c.goOn && c.sent == "PRO" {
				if got := <-served; got != c.sent {
					t.Errorf("the filter read %q, want %q", got, c.sent)
				}
			} else if !network.IsReset(err) || len(served) != 0 {
				t.Errorf("read %v, served %d; want a reset", err, len(served))
			}
			if n, _ := l.deps.Stats.Value("listener.127.0.0.1_0." + c.counter); n != 1 {
				t.Errorf("%s %d, want 1", c.counter, n)
			}
		})
	}
}

// original_dst of an internal flow reads what came along, and answers nothing.
func TestOriginalDstLeavesTheFlowUnanswered(t *testing.T) {
	f := newFakeFlow()
	f.info.DirectLocalAddress = network.InternalAddress("l", "")
	f.info.SetFilterState(listenerfilter.StateOriginalLocal, "192.0.2.9:25")
	var got network.Address
	m := internal(&listenerv3.Listener{
		Name: "l", ListenerFilters: []*listenerv3.ListenerFilter{filterOf(t, &origdstv3.OriginalDst{})},
		FilterChains: []*listenerv3.FilterChain{chainOf("c", &listenerv3.FilterChainMatch{DestinationPort: u32(25)})},
	})
	l, err := New(m, testDeps(handlers{"f": func(_ context.Context, f network.Flow) error {
		got = f.Info().LocalAddress
		return nil
	}}))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.ServeFlow(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	if f.accepted || f.rejected != nil || got != address("192.0.2.9:25") {
		t.Errorf("accepted %v, rejected %v, going to %v", f.accepted, f.rejected, got)
	}
}
