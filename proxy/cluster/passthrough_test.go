package cluster

import (
	"context"
	"testing"

	"culvert/proxy/format"
	"culvert/proxy/network"
	"culvert/proxy/transport/transporttest"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	iuv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/internal_upstream/v3"
	metadatav3 "github.com/envoyproxy/go-control-plane/envoy/type/metadata/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

func ofHost() *metadatav3.MetadataKind {
	return &metadatav3.MetadataKind{Kind: &metadatav3.MetadataKind_Host_{Host: &metadatav3.MetadataKind_Host{}}}
}

func ofCluster() *metadatav3.MetadataKind {
	return &metadatav3.MetadataKind{Kind: &metadatav3.MetadataKind_Cluster_{Cluster: &metadatav3.MetadataKind_Cluster{}}}
}

// passes puts internal_upstream around the transport of m, to let sources cross.
func passes(t *testing.T, m *clusterv3.Cluster, sources ...*iuv3.InternalUpstreamTransport_MetadataValueSource) *clusterv3.Cluster {
	m.TransportSocket = transporttest.Socket(t, &iuv3.InternalUpstreamTransport{
		PassthroughMetadata: sources, TransportSocket: m.GetTransportSocket(),
	})
	return m
}

func from(kind *metadatav3.MetadataKind, name string) *iuv3.InternalUpstreamTransport_MetadataValueSource {
	return &iuv3.InternalUpstreamTransport_MetadataValueSource{Kind: kind, Name: name}
}

func filterMetadata(t *testing.T, namespace, key, value string) *corev3.Metadata {
	t.Helper()
	s, err := structpb.NewStruct(map[string]any{key: value})
	if err != nil {
		t.Fatal(err)
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{namespace: s}}
}

// given is a flow, of which only its info is asked.
type given struct {
	network.Flow
	info *network.StreamInfo
}

func (g given) Info() *network.StreamInfo { return g.info }

// wayIn is how a flow may enter an internal listener: it is handed on, or its
// exchange gets a connection in a pipe.
type wayIn func(t *testing.T, m *clusterv3.Cluster, outer *network.StreamInfo) (c *Cluster, inner *network.StreamInfo)

func handedOn(t *testing.T, m *clusterv3.Cluster, outer *network.StreamInfo) (*Cluster, *network.StreamInfo) {
	var inner *network.StreamInfo
	c := start(t, m, func(d *Deps) {
		d.Lookup = func(string) (network.Handler, bool) {
			return network.HandlerFunc(func(_ context.Context, f network.Flow) error { inner = f.Info(); return nil }), true
		}
	})
	_, h, err := c.Open(t.Context(), outer)
	if err != nil || h == nil {
		t.Fatalf("%v, %v", h, err)
	}
	if err := h.ServeFlow(t.Context(), given{info: outer.InnerAt(outer.ID+1, outer.Upstream().Host)}); err != nil {
		t.Fatal(err)
	}
	return c, inner
}

func inPipe(t *testing.T, m *clusterv3.Cluster, outer *network.StreamInfo) (*Cluster, *network.StreamInfo) {
	s := &inside{}
	t.Cleanup(s.wg.Wait) // after the cluster has ended
	c := start(t, m, func(d *Deps) {
		d.Lookup = func(string) (network.Handler, bool) { return network.HandlerFunc(nil), true }
		d.DialInternal = s.dial
	})
	st, err := c.OpenStream(t.Context(), get(), outer.Child(outer.ID+1))
	if err != nil {
		t.Fatal(err)
	}
	_ = st.Close()
	if len(s.infos) != 1 {
		t.Fatalf("%d connections", len(s.infos))
	}
	return c, s.infos[0]
}

func shown(t *testing.T, text string, i *network.StreamInfo) string {
	t.Helper()
	f, err := format.Compile(text)
	if err != nil {
		t.Fatal(err)
	}
	return f.String(&format.Context{Info: i})
}

// K10: metadata of the cluster and of the endpoint, and what the flow shares,
// can be read inside; what is not there is shown as nothing, and counted.
func TestK10PassedInside(t *testing.T) {
	for name, enter := range map[string]wayIn{"K10 handed on": handedOn, "K10 HTTP in a pipe": inPipe} {
		t.Run(name, func(t *testing.T) {
			m := passes(t, static1("envoy:inner"), from(ofCluster(), "c"), from(ofHost(), "h"), from(ofHost(), "gone"))
			m.Metadata = filterMetadata(t, "c", "key", "of the cluster")
			m.LoadAssignment.Endpoints[0].LbEndpoints[0].Metadata = filterMetadata(t, "h", "key", "of the host")
			outer := info()
			outer.SetMetadata("secret", "key", "stays")
			outer.SetFilterState("kept", "stays")
			outer.ShareFilterState("shared", "crosses", network.SharedOnce)
			c, inner := enter(t, m, outer)
			const text = "%DYNAMIC_METADATA(c:key)%|%DYNAMIC_METADATA(h:key)%|%DYNAMIC_METADATA(gone:key)%|%DYNAMIC_METADATA(secret:key)%|" +
				"%FILTER_STATE(shared:PLAIN)%|%FILTER_STATE(kept:PLAIN)%"
			if got, want := shown(t, text, inner), "of the cluster|of the host|-|-|crosses|-"; got != want {
				t.Errorf("inside: %s\nwant:   %s", got, want)
			}
			if got := c.value("internal_upstream.no_metadata"); got != 1 {
				t.Errorf("internal_upstream.no_metadata %d, want 1", got)
			}
		})
	}
}

// K16: what is shared once crosses one hop, what is transitive each.
func TestK16FilterStateHops(t *testing.T) {
	for name, enter := range map[string]wayIn{"K16 handed on": handedOn, "K16 HTTP in a pipe": inPipe} {
		t.Run(name, func(t *testing.T) {
			flow := info()
			flow.ShareFilterState("once", "1", network.SharedOnce)
			flow.ShareFilterState("transitive", "2", network.SharedTransitive)
			flow.SetFilterState("none", "3")
			for hop, want := range []string{"1|2|-", "-|2|-", "-|2|-"} {
				_, flow = enter(t, passes(t, static1("envoy:inner")), flow)
				if got := shown(t, "%FILTER_STATE(once:PLAIN)%|%FILTER_STATE(transitive:PLAIN)%|%FILTER_STATE(none:PLAIN)%", flow); got != want {
					t.Errorf("after hop %d: %s, want %s", hop+1, got, want)
				}
			}
		})
	}
}

// K11: without internal_upstream nothing crosses.
func TestK11NothingPassed(t *testing.T) {
	for name, enter := range map[string]wayIn{"K11 handed on": handedOn, "K11 HTTP in a pipe": inPipe} {
		t.Run(name, func(t *testing.T) {
			m := static1("envoy:inner")
			m.Metadata = filterMetadata(t, "c", "key", "of the cluster")
			outer := info()
			outer.ShareFilterState("shared", "stays", network.SharedTransitive)
			_, inner := enter(t, m, outer)
			if got := shown(t, "%DYNAMIC_METADATA(c:key)%|%FILTER_STATE(shared:PLAIN)%", inner); got != "-|-" {
				t.Errorf("inside: %s", got)
			}
		})
	}
}
