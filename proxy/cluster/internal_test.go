package cluster

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h1"
	"culvert/proxy/network"
)

// inside is the far end of internal connections: loopback sockets in the place
// of pipes, served as HTTP/1.1.
type inside struct {
	refuse error
	infos  []*network.StreamInfo
	wg     sync.WaitGroup
	mu     sync.Mutex
}

func (s *inside) dial(ctx context.Context, h network.Handler, info *network.StreamInfo) (network.Conn, error) {
	s.mu.Lock()
	s.infos = append(s.infos, info)
	s.mu.Unlock()
	if s.refuse != nil {
		return nil, s.refuse
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return nil, err
	}
	peer, err := ln.Accept()
	if err != nil {
		return nil, err
	}
	server, _ := network.NewSocket(peer)
	s.wg.Go(func() { // ends with the connection
		_ = h1.ServeConn(context.Background(), server, h1.Config{}, func(_ context.Context, s codec.ServerStream) {
			_ = s.WriteResponse(&codec.Response{Status: 200, EndStream: true})
			_ = s.Close()
		})
	})
	return network.NewSocket(c)
}

func internalRig(t *testing.T, names ...string) (*Cluster, *inside) {
	s := &inside{}
	t.Cleanup(s.wg.Wait) // after the cluster has ended
	c := start(t, static1(names...), func(d *Deps) {
		d.Lookup = func(name string) (network.Handler, bool) {
			return network.HandlerFunc(func(context.Context, network.Flow) error { return nil }), name == "inner"
		}
		d.DialInternal = s.dial
	})
	return c, s
}

// HTTP over an internal endpoint: one connection, whose info tells of none of
// the flows that share it but how they came.
func TestInternalHTTP(t *testing.T) {
	c, s := internalRig(t, "envoy:inner")
	for range 2 {
		i := info()
		i.SetFilterState(network.StateDestination, "secret:1")
		i.LocalAddress = at("192.0.2.1:443")
		i.RaiseHops(3)
		st, err := c.OpenStream(t.Context(), get(), i)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := st.ReadResponse(t.Context()); err != nil || res.Status != 200 {
			t.Errorf("%+v, %v", res, err)
		}
		_ = st.Close()
		if i.Upstream().Host != network.InternalAddress("inner", "1") {
			t.Errorf("upstream %+v", i.Upstream())
		}
	}
	if len(s.infos) != 1 {
		t.Fatalf("%d connections", len(s.infos))
	}
	in := s.infos[0]
	if in.LocalAddress != network.InternalAddress("inner", "1") || in.DirectRemoteAddress != network.InternalClient() ||
		in.Restored() || in.Hops() != 3 || in.FilterState.Get(network.StateDestination) != nil {
		t.Errorf("info inside: %+v", in)
	}
}

// K05, and a refusal inside: at once, as what it is.
func TestK05InternalRefused(t *testing.T) {
	c, s := internalRig(t, "envoy:inner")
	s.refuse = network.WithReason(network.ReasonConnectionRefused, errNope)
	if _, err := c.OpenStream(t.Context(), get(), info()); !errors.Is(err, errNope) || network.ReasonFor(err) != network.ReasonConnectionRefused {
		t.Errorf("%v", err)
	}
	c, _ = internalRig(t, "envoy:gone")
	if _, err := c.OpenStream(t.Context(), get(), info()); network.FlagFor(err) != network.FlagUF || c.value("upstream_cx_connect_fail") != 1 {
		t.Errorf("%v", err)
	}
	c = start(t, static1("envoy:inner"), func(d *Deps) {
		d.Lookup = func(string) (network.Handler, bool) { return network.HandlerFunc(nil), true }
	})
	if _, err := c.OpenStream(t.Context(), get(), info()); network.ReasonFor(err) != network.ReasonGateway {
		t.Errorf("without DialInternal: %v", err)
	}
}

// A transport that adds something needs a connection; its info is the flow's
// own.
func TestInternalTLS(t *testing.T) {
	s := &inside{refuse: errNope}
	c := start(t, tlsTo(t, static1("envoy:inner")), func(d *Deps) {
		d.Lookup = func(string) (network.Handler, bool) { return network.HandlerFunc(nil), true }
		d.DialInternal = s.dial
	})
	i := info()
	i.RemoteAddress = at("192.0.2.7:1")
	if _, h, err := c.Open(t.Context(), i); h != nil || !errors.Is(err, errNope) {
		t.Errorf("%v, %v", h, err)
	}
	if len(s.infos) != 1 || s.infos[0].Parent != i || s.infos[0].RemoteAddress != i.RemoteAddress {
		t.Errorf("infos %+v", s.infos)
	}
}
